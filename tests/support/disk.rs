//! A disk that is small enough to be filled: a file system of a few megabytes in memory, gone with the test process in
//! whatever way that ends.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Unmounts as soon as its standard input ends, which it does when the test process is gone.
const GUARD: &str = r#"
trap '' INT TERM HUP
cat > /dev/null
umount -l "$1" && rmdir "$1"
"#;

/// What fills it is written in pieces of halving size, down to one byte.
const PIECE_BYTES: usize = 1024 * 1024;

/// A mounted file system.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
    guard: Child,
}

impl SmallDisk {
    /// Makes one of so many megabytes, which everybody may write to.
    pub fn mount(megabytes: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("sojourn-disk-").tempdir().expect("a folder").keep();
        let options = format!("size={megabytes}m,mode=1777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&folder).output();
        let mounted = mounted.expect("mount starts");
        let says = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "a disk that can be filled must be mounted, which needs root: {says}");
        let guard = Command::new("sh").args(["-c", GUARD, "guard"]).arg(&folder).stdin(Stdio::piped()).spawn();
        Self { folder, guard: guard.expect("sh starts") }
    }

    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        let mut filling = File::options().create(true).append(true).open(self.filling()).expect("a file");
        let mut piece = vec![0; PIECE_BYTES];
        while !piece.is_empty() {
            while filling.write(&piece).is_ok_and(|written| written > 0) {}
            piece.truncate(piece.len() / 2);
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.filling()).expect("it was filled");
    }

    fn filling(&self) -> PathBuf {
        self.folder.join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The end of its standard input is the guard's signal.
        drop(self.guard.stdin.take());
        let _ended = self.guard.wait();
    }
}
