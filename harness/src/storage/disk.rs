//! The disk of a run: what the system says of it, and how long it takes to make a few bytes durable.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Instant,
};

use nearlab_reports::storage::Disk;

use crate::latency;

/// Syncs that are timed.
const SYNCS: usize = 64;
/// Bytes written before each.
const WRITTEN: [u8; 4096] = [0x5a; 4096];

/// Describes the disk that `folder` lies on, and times syncs in it.
pub fn describe(folder: &Path) -> io::Result<Disk> {
    let (total_bytes, free_bytes) = space(folder)?;
    let mut nanoseconds = time_syncs(&folder.join("syncs.tmp"))?;
    let device_number = fs::metadata(folder)?.dev();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount(&mounts, device_number);
    let rotational = mount.as_ref().and_then(|_| rotational(device_number));
    let (device, file_system, mount_options) = match mount {
        Some(Mount { device, file_system, options }) => (Some(device), Some(file_system), Some(options)),
        None => (None, None, None),
    };
    Ok(Disk {
        device,
        file_system,
        mount_options,
        rotational,
        total_bytes,
        free_bytes,
        syncs: nanoseconds.len() as u64,
        sync_ns: latency::summarise(&mut nanoseconds),
    })
}

/// (size, free for this user) of the file system of `folder`, in bytes.
pub fn space(folder: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::fs::statvfs(folder)?;
    Ok((found.f_blocks.saturating_mul(found.f_frsize), found.f_bavail.saturating_mul(found.f_frsize)))
}

/// Bytes that the files below `path` take on the disk: blocks, not lengths, so that holes are not counted.
pub fn taken(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    fs::read_dir(path)?.map(|entry| taken(&entry?.path())).sum()
}

fn time_syncs(path: &Path) -> io::Result<Vec<u64>> {
    let mut file = File::create(path)?;
    let timed: io::Result<Vec<u64>> = (0..SYNCS)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&WRITTEN)?;
            file.sync_data()?;
            Ok(start.elapsed().as_nanos() as u64)
        })
        .collect();
    drop(file);
    fs::remove_file(path)?;
    timed
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    file_system: String,
    options: String,
}

/// The newest line of `mountinfo` (see `proc_pid_mountinfo(5)`) about a device.
fn mount(mountinfo: &str, device_number: u64) -> Option<Mount> {
    let wanted = numbers(device_number);
    mountinfo.lines().rev().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(2);
        if fields.next()? != wanted {
            return None;
        }
        let options = fields.nth(2)?.to_owned();
        let mut after = after.split(' ');
        let (file_system, device) = (after.next()?.to_owned(), after.next()?.to_owned());
        Some(Mount { device, file_system, options })
    })
}

fn rotational(device_number: u64) -> Option<bool> {
    let numbers = numbers(device_number);
    // A partition's queue is that of its disk, one folder up.
    ["queue/rotational", "../queue/rotational"]
        .into_iter()
        .find_map(|file| fs::read_to_string(format!("/sys/dev/block/{numbers}/{file}")).ok())
        .map(|text| text.trim() == "1")
}

fn numbers(device_number: u64) -> String {
    format!("{}:{}", rustix::fs::major(device_number), rustix::fs::minor(device_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_a_disk_with_room_and_a_time_to_sync() {
        let folder = tempfile::tempdir().unwrap();
        let disk = describe(folder.path()).unwrap();
        assert!(disk.free_bytes <= disk.total_bytes && disk.syncs == SYNCS as u64 && disk.sync_ns.is_some());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(describe(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn bytes_are_counted_in_blocks_over_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        let sparse = File::create(folder.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        fs::write(below.join("full"), vec![1; 100_000]).unwrap();
        File::open(below.join("full")).unwrap().sync_all().unwrap();
        let taken = taken(folder.path()).unwrap();
        assert!((100_000..1 << 20).contains(&taken), "{taken}");
    }

    #[test]
    fn the_list_of_mounts_is_read_as_its_manual_page_says() {
        let text = "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
                    30 25 0:26 / /tmp rw,nosuid - tmpfs tmpfs rw\nrubbish\n";
        let of = |major, minor| mount(text, rustix::fs::makedev(major, minor));
        assert_eq!(of(8, 1).unwrap().device, "/dev/sda1");
        let tmp = Mount { device: "tmpfs".into(), file_system: "tmpfs".into(), options: "rw,nosuid".into() };
        assert_eq!(of(0, 26), Some(tmp));
        assert_eq!(of(9, 9), None);
    }
}
