//! `dtf run checksum`, compared with what coreutils say of the same files.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::command::{dtf, told};
use tempfile::TempDir;

/// A tree with names that are hard to list.
fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for dir in ["a", "b/deep", "b/build"] {
        fs::create_dir_all(tree.path().join(dir)).unwrap();
    }
    for name in ["a/x", "a/back\\slash", "a/new\nline", "b/deep/y", "b/z.o", "b/keep.o", "b/build/out"] {
        fs::write(tree.path().join(name), name).unwrap();
    }
    tree
}

/// Runs a program in a directory.
fn at(dir: &Path, command: &mut Command) -> (i32, String, String) {
    told(&command.current_dir(dir).stdin(Stdio::null()).output().unwrap())
}

fn checksum(dir: &Path, args: &[&str]) -> (i32, String, String) {
    at(dir, &mut dtf(&[&["run", "checksum"], args].concat()))
}

fn shell(dir: &Path, script: &str) -> (i32, String, String) {
    at(dir, Command::new("sh").args(["-c", script]).env("LC_ALL", "C"))
}

#[test]
fn several_directories_make_one_manifest_with_any_digest() {
    let tree = tree();
    for (digest, tool) in [("sha256", "sha256sum"), ("sha512", "sha512sum"), ("md5", "md5sum")] {
        let (_, expected, _) =
            shell(tree.path(), &format!("find b a -type f -print0 | sort -z | xargs -0 {tool}"));
        let (code, stdout, stderr) = checksum(tree.path(), &["-q", "b", "a", "--digest", digest]);
        assert_eq!((code, stdout, stderr.as_str()), (0, expected, ""), "{digest}");
    }
    let (_, stdout, _) = checksum(tree.path(), &["-q", "a", "--digest", "blake3"]);
    assert_eq!(stdout.lines().count(), 3);
}

#[test]
fn what_is_excluded_is_left_out_as_git_would() {
    let tree = tree();
    fs::write(tree.path().join("patterns"), "# comment\n/build/\n").unwrap();
    let args = ["-q", "b", "--exclude", "*.o", "--exclude", "!keep.o", "--exclude-from", "patterns"];
    let (code, stdout, stderr) = checksum(tree.path(), &args);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let files: Vec<_> =
        stdout.lines().filter_map(|line| line.split_once("  ")).map(|(_, path)| path).collect();
    assert_eq!(files, ["b/deep/y", "b/keep.o"]);
    let (code, _, stderr) = checksum(tree.path(), &["b", "--exclude", "a{"]);
    assert_eq!((code, stderr.lines().count()), (2, 1), "{stderr}");
}

#[test]
fn checking_says_what_coreutils_say() {
    let tree = tree();
    let dir = tree.path();
    shell(
        dir,
        "find . -type f -print0 | sort -z | xargs -0 sha256sum > ../M; mv ../M M; sha512sum --tag a/x b/z.o > T",
    );
    let same = |options: &[&str], manifests: &[&str]| {
        let (code, expected, _) =
            at(dir, Command::new("sha256sum").arg("-c").args(manifests).env("LC_ALL", "C"));
        let (own, stdout, stderr) = checksum(dir, &[options, &["--check"], manifests].concat());
        assert_eq!((own, &stdout), (code, &expected), "{stderr}");
        (code, stdout, stderr)
    };
    assert_eq!(same(&[], &["M"]).0, 0);
    fs::write(dir.join("a/x"), "changed").unwrap();
    fs::remove_file(dir.join("b/deep/y")).unwrap();
    let (code, stdout, stderr) = same(&[], &["M"]);
    assert!(
        code == 1
            && stdout.contains("./a/x: FAILED\n")
            && stdout.contains("./b/deep/y: FAILED open or read\n")
    );
    assert!(stderr.contains("dtf: ./b/deep/y: No such file or directory"), "{stderr}");
    // Only what is wrong, and other forms and digests.
    let (code, stdout, _) = checksum(dir, &["-q", "--check", "T"]);
    assert_eq!((code, stdout.as_str()), (1, "a/x: FAILED\n"));
    // What is no manifest checks nothing.
    fs::write(dir.join("N"), "no line\n").unwrap();
    let (code, stdout, stderr) = checksum(dir, &["-q", "--check", "N"]);
    assert_eq!((code, stdout.as_str()), (1, "N:1: FAILED open or read\n"));
    assert!(stderr.contains("dtf: N:1: is no line of a manifest"), "{stderr}");
    fs::write(dir.join("E"), "").unwrap();
    assert_eq!(checksum(dir, &["-q", "--check", "E"]).0, 1, "an empty one checks nothing either");
    let (code, _, stderr) = checksum(dir, &["--check", "none"]);
    assert_eq!((code, stderr.lines().count()), (2, 1), "{stderr}");
}

#[test]
fn a_manifest_that_is_replaced_keeps_owner_and_mode() {
    let tree = tree();
    let out = tree.path().join("M");
    fs::write(&out, "old").unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o640)).unwrap();
    if rustix::process::getuid().is_root() {
        chown(&out, Some(12_345), Some(23_456)).unwrap();
    }
    let before = fs::metadata(&out).unwrap();
    let (code, _, stderr) = checksum(tree.path(), &["-q", "a", "--out", "M"]);
    assert_eq!(code, 0, "{stderr}");
    let after = fs::metadata(&out).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!((before.uid(), before.gid(), before.mode()), (after.uid(), after.gid(), after.mode()));
}

#[test]
fn a_file_that_is_written_to_while_it_is_read_is_named() {
    let tree = tempfile::tempdir().unwrap();
    let mut file = File::create(tree.path().join("log")).unwrap();
    file.set_len(64 * 1024 * 1024).unwrap();
    let mut command = dtf(&["run", "checksum", "-q", tree.path().to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        file.write_all(b"x").unwrap();
    }
    let (code, stdout, stderr) = told(&child.wait_with_output().unwrap());
    assert_eq!((code, stdout.lines().count()), (0, 1));
    assert!(stderr.contains("/log: was written to while it was read"), "{stderr}");
}

/// Updates the manifest of `b` and returns how many files there are, and how many were not read.
fn updated(dir: &Path, args: &[&str]) -> (u64, u64, String) {
    let all = [&["-q", "-o", "json", "b", "--out", "M", "--update"], args].concat();
    let (code, stdout, stderr) = checksum(dir, &all);
    let ended: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 0, "{stderr}");
    let count = |name: &str| ended["result"]["data"][name].as_u64().unwrap();
    (count("files"), count("kept"), stderr)
}

#[test]
fn an_update_reads_what_has_changed_and_nothing_else() {
    let tree = tree();
    let dir = tree.path();
    let right = || {
        let (_, expected, _) = shell(dir, "find b -type f -print0 | sort -z | xargs -0 sha256sum");
        assert_eq!(fs::read_to_string(dir.join("M")).unwrap(), expected);
    };
    // Files that were written to just now are read once more; their times are coarse.
    let begin = std::time::Instant::now();
    while updated(dir, &[]) != (4, 4, String::new()) {
        right();
        assert!(begin.elapsed() < std::time::Duration::from_secs(60));
    }
    right();
    let index = fs::read(dir.join("M.dtf-index")).unwrap();

    // The same size and the same old time, in place and moved into place; a new file, one less, one that moved.
    let old = fs::metadata(dir.join("b/z.o")).unwrap().modified().unwrap();
    let write = |name: &str, content: &str| {
        fs::write(dir.join(name), content).unwrap();
        File::options().append(true).open(dir.join(name)).unwrap().set_modified(old).unwrap();
    };
    write("b/z.o", "B/Z.O");
    write("aside", "B/KEEP.O");
    fs::rename(dir.join("aside"), dir.join("b/keep.o")).unwrap();
    fs::write(dir.join("b/new"), "").unwrap();
    fs::rename(dir.join("b/build/out"), dir.join("b/out")).unwrap();
    assert_eq!(updated(dir, &[]), (5, 1, String::new()));
    right();

    // An index that is damaged, or of another digest, is named and not gone by; without --update it is not looked at.
    let mut damaged = index;
    damaged[20] ^= 1;
    fs::write(dir.join("M.dtf-index"), damaged).unwrap();
    let (files, kept, stderr) = updated(dir, &[]);
    assert_eq!((files, kept), (5, 0));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("M.dtf-index: the encoding is damaged; all files are read"), "{stderr}");
    let (_, kept, stderr) = updated(dir, &["--digest", "md5"]);
    assert!(kept == 0 && stderr.contains("not of the kind MD5; all files are read"), "{stderr}");
    let (code, ..) = checksum(dir, &["-q", "b", "--out", "M"]);
    assert_eq!(code, 0);
    right();

    // It is beside the manifest, and no file of the tree.
    let (code, _, stderr) = checksum(dir, &["-q", "b", "--out", "b/M", "--update"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let manifest = fs::read_to_string(dir.join("b/M")).unwrap();
    assert_eq!((manifest.lines().count(), dir.join("b/M.dtf-index").exists()), (5, true), "{manifest}");
    let (code, _, stderr) = checksum(dir, &["b", "--update"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("--out"), "{stderr}");
}
