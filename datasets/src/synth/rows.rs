//! The models, one row at a time. Centres are drawn again for each row from their own streams, so nothing grows with
//! their number but one running sum of weights.
//!
//! The `embedding` model, with s = `spread`, c = `common`: row = R normalise(sqrt(c) u + sqrt(1 - c) (sqrt(1 - s) t + sqrt(s) e)).
//! u is a fixed unit vector; t (one per topic) and e (one per row) are Gaussian with variances proportional to i^-decay
//! that sum to 1; R is a random rotation, so that no coordinate is a principal direction. On 6,306 real
//! text-embedding-ada-002 vectors the squared length of the mean is 0.69 and the variance falls like i^-0.98 over
//! i = 10..300, which the defaults follow. Not modelled: topics of topics, and the growth of local dimension with n.

use super::{
    Part, SynthKind, SynthSpec,
    random::{Purpose, Rotation, Stream},
};

/// What all rows of a set share.
pub(super) struct Model {
    seed: u64,
    shape: Shape,
}

enum Shape {
    Uniform,
    Clustered {
        chooser: Chooser,
        spread: f32,
    },
    /// `map` is d x intrinsic, row-major.
    LowIntrinsic {
        map: Vec<f32>,
        intrinsic: usize,
        noise: f32,
    },
    Embedding {
        chooser: Chooser,
        /// Standard deviation of coordinate i before rotation, for a topic and for a row about its topic.
        topic: Vec<f32>,
        within: Vec<f32>,
        /// sqrt(c) u.
        mean: Vec<f32>,
        rotation: Rotation,
    },
}

/// Picks a centre with exponential weights: some are large, some small.
struct Chooser {
    cumulative: Vec<f64>,
}

impl Model {
    /// `spec` is resolved: the parameters of its kind are there.
    pub(super) fn new(spec: &SynthSpec) -> Self {
        let seed = spec.seed;
        let shape = match (spec.kind, spec.clusters, spec.spread) {
            (SynthKind::Clustered, Some(clusters), Some(spread)) => {
                Shape::Clustered { chooser: Chooser::new(seed, clusters), spread: spread as f32 }
            }
            (SynthKind::Embedding, Some(clusters), Some(spread)) => embedding(spec, clusters, spread),
            (SynthKind::LowIntrinsic, ..) => {
                let intrinsic = spec.intrinsic.unwrap_or(spec.d);
                let mut map = vec![0.0; spec.d * intrinsic];
                Stream::new(seed, Purpose::Subspace, 0).fill_normal(&mut map);
                let scale = (intrinsic as f32).sqrt().recip();
                for x in &mut map {
                    *x *= scale;
                }
                Shape::LowIntrinsic { map, intrinsic, noise: spec.noise.unwrap_or(0.0) as f32 }
            }
            _ => Shape::Uniform,
        };
        Self { seed, shape }
    }

    /// Writes row `number` of `part` over `row`.
    pub(super) fn row(&self, part: Part, number: usize, row: &mut [f32]) {
        let purpose = match part {
            Part::Train => Purpose::Train,
            Part::Queries => Purpose::Query,
        };
        let mut stream = Stream::new(self.seed, purpose, number);
        match &self.shape {
            Shape::Uniform => stream.fill_uniform(row),
            Shape::Clustered { chooser, spread } => {
                let centre = chooser.choose(&mut stream);
                let mut offset = vec![0.0; row.len()];
                stream.fill_normal(&mut offset);
                Stream::new(self.seed, Purpose::Centre, centre).fill_uniform(row);
                for (x, offset) in row.iter_mut().zip(&offset) {
                    *x += spread * offset;
                }
            }
            Shape::LowIntrinsic { map, intrinsic, noise } => {
                let mut z = vec![0.0; *intrinsic];
                stream.fill_normal(&mut z);
                stream.fill_normal(row);
                for (x, axis) in row.iter_mut().zip(map.chunks_exact(*intrinsic)) {
                    *x = *noise * *x + axis.iter().zip(&z).map(|(a, z)| a * z).sum::<f32>();
                }
            }
            Shape::Embedding { chooser, topic, within, mean, rotation } => {
                let centre = chooser.choose(&mut stream);
                let mut offset = vec![0.0; row.len()];
                stream.fill_normal(&mut offset);
                Stream::new(self.seed, Purpose::Centre, centre).fill_normal(row);
                for (i, x) in row.iter_mut().enumerate() {
                    *x = mean[i] + topic[i] * *x + within[i] * offset[i];
                }
                rotation.apply(row);
                nearlab_simd::normalize(row);
            }
        }
    }
}

fn embedding(spec: &SynthSpec, clusters: usize, spread: f64) -> Shape {
    let (decay, common) = (spec.decay.unwrap_or(0.0), spec.common.unwrap_or(0.0));
    let variances: Vec<f64> = (1..=spec.d).map(|i| (i as f64).powf(-decay)).collect();
    let total: f64 = variances.iter().sum();
    let deviations =
        |share: f64| variances.iter().map(|v| (v / total * share * (1.0 - common)).sqrt() as f32).collect();
    let mut mean = vec![0.0; spec.d];
    Stream::new(spec.seed, Purpose::Common, 0).fill_normal(&mut mean);
    nearlab_simd::normalize(&mut mean);
    for x in &mut mean {
        *x *= common.sqrt() as f32;
    }
    Shape::Embedding {
        chooser: Chooser::new(spec.seed, clusters),
        topic: deviations(1.0 - spread),
        within: deviations(spread),
        mean,
        rotation: Rotation::new(spec.seed, spec.d),
    }
}

impl Chooser {
    fn new(seed: u64, clusters: usize) -> Self {
        let mut stream = Stream::new(seed, Purpose::Weight, 0);
        let mut sum = 0.0;
        // 1 - u lies in (0, 1], so that the logarithm is finite.
        let cumulative = (0..clusters)
            .map(|_| {
                sum -= (1.0 - stream.uniform()).ln();
                sum
            })
            .collect();
        Self { cumulative }
    }

    fn choose(&self, stream: &mut Stream) -> usize {
        let last = self.cumulative.len() - 1;
        let point = stream.uniform() * self.cumulative[last];
        self.cumulative.partition_point(|&sum| sum <= point).min(last)
    }
}
