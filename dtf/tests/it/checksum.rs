//! The task type `checksum`, compared with what coreutils make of the same trees.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Closed, How, collect, console, context, execute, generate, id, param, run, spec};
use bytes::Bytes;
use dtf::tasks::checksum::{Checksum, Limits};
use dtf::tasks::{Console, failed_items};
use dtf_model::plugin::{ResultOf, TaskPlugin, TaskResult};
use dtf_model::queue::Outcome;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Returns the output of coreutils for a tree.
fn expected(dir: &Path) -> Vec<u8> {
    let pipeline = r#"find "$0" -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum"#;
    let output = Command::new("sh").args(["-c", pipeline]).arg(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A tree with everything that is hard about names and kinds of files.
fn hard_tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    for dir in ["empty", "a", "a/b", "a b", "a-b", "deep/er/and/deeper", "new\nline", "back\\slash"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let names: [&[u8]; 17] = [
        b"plain",
        b"a/b/c",
        b"a b/with space",
        b"a-b/x",
        b"a.txt",
        b"new\nline/in\nboth",
        b"back\\slash/f\\g",
        b"cr\rname",
        b"all\\three\n\r",
        b"\xff\xfe not utf-8",
        b"-dash",
        b"\x01control",
        b"deep/er/and/deeper/f",
        b"\xc3\xa4",
        b"trailing\\",
        b"empty file",
        b"big",
    ];
    for name in names {
        let content = match name {
            b"empty file" => Vec::new(),
            b"big" => (0..3_000_000_u32).map(|at| (at % 251) as u8).collect(),
            _ => name.repeat(3),
        };
        fs::write(root.join(OsStr::from_bytes(name)), content).unwrap();
    }
    symlink("plain", root.join("link to file")).unwrap();
    symlink("a", root.join("link to dir")).unwrap();
    symlink("nowhere", root.join("broken link")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    tree
}

async fn manifest(dir: &Path, limits: Limits, how: How) -> (Vec<u8>, TaskResult) {
    let (console, out, err) = console();
    let plugin = Checksum::with_limits(console, limits);
    let result = run(&plugin, Checksum::param(dir, None), how).await.unwrap();
    assert_eq!(err.text(), "");
    (out.bytes(), result)
}

#[tokio::test]
async fn the_manifest_is_what_coreutils_print_in_whatever_order_results_come() {
    let tree = hard_tree();
    let expected = expected(tree.path());
    for (order, take_over) in [(0, false), (1, false), (2, true), (3, true)] {
        let how = How { order, take_over, most: 1, ..How::default() };
        let (found, result) = manifest(tree.path(), Limits::default(), how).await;
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
        assert_eq!(found, expected);
        assert_eq!((result.code, failed_items(&result)), (0, 0));
        assert_eq!(result.data["files"], 17);
    }
}

#[tokio::test]
async fn the_path_is_joined_as_find_joins_it() {
    let tree = hard_tree();
    for suffix in ["", "/", "//", "/.", "/a/../a", "/link to dir/"] {
        let mut dir = tree.path().as_os_str().to_owned();
        dir.push(suffix);
        let (found, _) = manifest(Path::new(&dir), Limits::default(), How::default()).await;
        assert_eq!(found, expected(Path::new(&dir)), "{suffix}");
    }
}

/// More files than a batch holds, in a few directories and names that sort unlike they were made.
fn many_files(count: usize) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for number in 0..count {
        let dir = tree.path().join(format!("d{}", number % 7));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{:x}", number * 7919 % 65_536 + number)), number.to_string()).unwrap();
    }
    tree
}

#[tokio::test]
async fn results_that_do_not_fit_into_memory_are_merged_in_many_passes() {
    let tree = many_files(3000);
    let expected = expected(tree.path());
    for (memory, fan_in) in [(1, 2), (20_000, 2), (20_000, 64)] {
        let how = How { order: 9, take_over: true, ..How::default() };
        let (found, result) = manifest(tree.path(), Limits { memory, fan_in }, how).await;
        assert!(found == expected, "{memory} {fan_in}");
        assert_eq!(result.data["files"], 3000);
    }
}

#[tokio::test]
async fn a_tree_deeper_than_directories_may_be_open_is_walked() {
    let tree = tempfile::tempdir().unwrap();
    let mut dir = tree.path().to_owned();
    for depth in 0..300 {
        fs::write(dir.join("file"), depth.to_string()).unwrap();
        fs::create_dir(dir.join("side")).unwrap();
        fs::write(dir.join("side/file"), depth.to_string()).unwrap();
        dir.push("d");
        fs::create_dir(&dir).unwrap();
    }
    let (found, result) = manifest(tree.path(), Limits::default(), How::default()).await;
    assert_eq!(found, expected(tree.path()));
    assert_eq!(result.data["files"], 600);
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_file_below_dir_is_replaced_and_not_hashed_itself() {
    let tree = many_files(50);
    let expected = expected(tree.path());
    let out = tree.path().join("manifest");
    for old in [None, Some("an older one")] {
        if let Some(old) = old {
            fs::write(&out, old).unwrap();
            fs::set_permissions(&out, fs::Permissions::from_mode(0o640)).unwrap();
            fs::write(tree.path().join(".dtf-manifest-abc"), "left behind by one that was killed").unwrap();
        }
        let plugin = Checksum::with_limits(console().0, Limits { memory: 500, fan_in: 2 });
        run(&plugin, Checksum::param(tree.path(), Some(&out)), How::default()).await.unwrap();
        assert_eq!(fs::read(&out).unwrap(), expected);
    }
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o640);
    let ours = [out.clone(), tree.path().join(".dtf-manifest-abc")];
    let others = entries(tree.path()).into_iter().filter(|path| !ours.contains(path));
    assert_eq!(others.count(), 7);
    let check = Command::new("sha256sum").args(["--check", "--status"]).arg(&out).status().unwrap();
    assert!(check.success());
}

#[tokio::test]
async fn a_file_that_is_a_symlink_keeps_leading_to_the_manifest() {
    let (tree, place) = (many_files(3), tempfile::tempdir().unwrap());
    let (real, link) = (place.path().join("real"), place.path().join("link"));
    fs::write(&real, "").unwrap();
    symlink("real", &link).unwrap();
    let plugin = Checksum::new(console().0);
    run(&plugin, Checksum::param(tree.path(), Some(&link)), How::default()).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&real).unwrap(), expected(tree.path()));
}

#[tokio::test]
async fn an_empty_directory_makes_an_empty_file_also_with_a_name_that_is_not_utf_8() {
    let place = tempfile::tempdir().unwrap();
    let (dir, out) =
        (place.path().join(OsStr::from_bytes(b"\xff")), place.path().join(OsStr::from_bytes(b"\xfe")));
    fs::create_dir(&dir).unwrap();
    let plugin = Checksum::new(console().0);
    let type_param = Checksum::param(&dir, Some(&out));
    let type_param = serde_json::from_str(&type_param.to_string()).unwrap();
    let result = run(&plugin, type_param, How::default()).await.unwrap();
    assert_eq!(fs::read(&out).unwrap(), b"");
    assert_eq!(result.reason, "0 files, 0 bytes");
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_counted_and_the_rest_is_written() {
    let tree = many_files(20);
    let gone = tree.path().join("gone\nfor ever");
    let (piped, unreadable) = (tree.path().join("piped"), tree.path().join("d9"));
    fs::write(&gone, "x").unwrap();
    fs::write(&piped, "x").unwrap();
    let (console, out, err) = console();
    let plugin = Checksum::new(console);
    let spec = spec(Checksum::param(tree.path(), None));
    let bodies = generate(&plugin, &spec, 100).await;
    fs::remove_file(&gone).unwrap();
    fs::remove_file(&piped).unwrap();
    assert!(Command::new("mkfifo").arg(&piped).status().unwrap().success());
    let mut results = execute(&plugin, &spec, bodies, How::default()).await;
    // A batch that failed as a whole, as after a panic: with the vanished directory that a walk reports.
    let elsewhere = many_files(3);
    let other = crate::support::spec(Checksum::param(&elsewhere.path().join("d0"), None));
    let body = generate(&plugin, &other, 1).await.remove(0);
    let missing = crate::support::spec(Checksum::param(&unreadable, None));
    let whole = generate(&plugin, &missing, 1).await;
    results.extend(execute(&plugin, &missing, whole, How::default()).await);
    results.push(ResultOf { id: id(99), outcome: Outcome::TimedOut { body } });
    let result =
        collect(&plugin, &spec, results, How { take_over: true, order: 5, ..How::default() }).await.unwrap();
    let root = tree.path().display();
    assert_eq!(out.bytes(), expected(tree.path()));
    let mut named: Vec<_> = err.text().lines().map(str::to_owned).collect();
    named.sort();
    let mut should = vec![
        format!("dtf: {root}/d9: No such file or directory"),
        format!("dtf: {root}/gone\\nfor ever: No such file or directory"),
        format!("dtf: {root}/piped: is no regular file any more"),
        format!("dtf: {}/d0/0: timed out", elsewhere.path().display()),
    ];
    should.sort();
    assert_eq!(named, should);
    assert_eq!((result.code, failed_items(&result), result.data["files"].as_u64()), (0, 4, Some(20)));
    assert!(result.reason.ends_with("4 items failed"), "{}", result.reason);
}

#[tokio::test]
async fn a_cancelled_task_leaves_nothing_and_lets_no_more_be_collected() {
    let tree = many_files(600);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("manifest");
    let plugin = Checksum::with_limits(console().0, Limits { memory: 1000, fan_in: 4 });
    let spec = spec(Checksum::param(tree.path(), Some(&out)));
    let bodies = generate(&plugin, &spec, 100).await;
    let results = execute(&plugin, &spec, bodies, How::default()).await;
    let mut collector = plugin.collector(&spec).unwrap();
    collector.begin(None).await.unwrap();
    let mut support = dtf_model::plugin::CollectorSupport::default();
    collector.after_execution(&results[0], &mut support).await.unwrap();
    assert!(entries(place.path()).is_empty());
    collector.cancel().await.unwrap();
    assert!(collector.after_execution(&results[1], &mut support).await.is_err());
    assert!(collector.after_task_completed(&dtf_model::Counts::default()).await.is_err());
    assert!(entries(place.path()).is_empty());
}

#[tokio::test]
async fn hashing_stops_when_it_is_told_to() {
    let tree = many_files(5);
    let plugin = Checksum::new(console().0);
    let spec = spec(Checksum::param(tree.path(), None));
    let body = generate(&plugin, &spec, 1).await.remove(0);
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let executor = plugin.executor(&spec).unwrap();
    let stopped = executor.execute(&body, &context(&cancelled)).await.unwrap_err();
    assert_eq!(stopped.to_string(), "told to stop");
    let damaged = executor.execute(&Bytes::from_static(b"\x07"), &context(&CancellationToken::new())).await;
    assert!(damaged.is_err());
}

#[tokio::test]
async fn the_end_can_be_asked_for_again_and_another_process_cannot_go_on() {
    let tree = many_files(5);
    let (console, out, _) = console();
    let plugin = Checksum::new(console);
    let type_param = Checksum::param(tree.path(), None);
    let first = run(&plugin, type_param.clone(), How::default()).await.unwrap();
    let mut again = plugin.collector(&spec(type_param.clone())).unwrap();
    let saved = again.save_status().unwrap();
    again.begin(saved.clone()).await.unwrap();
    assert_eq!(again.after_task_completed(&dtf_model::Counts::default()).await.unwrap(), first);
    assert_eq!(out.bytes(), expected(tree.path()));

    let other = Checksum::new(Console::std());
    let lost = other.collector(&spec(type_param)).unwrap().begin(saved).await.unwrap_err();
    assert!(lost.to_string().contains("is lost with the process"), "{lost}");
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_a_clear_failure() {
    let tree = many_files(5);
    let plugin = Checksum::new(Console::new(Closed, Closed));
    let failed = run(&plugin, Checksum::param(tree.path(), None), How::default()).await.unwrap_err();
    assert_eq!(failed.to_string(), "cannot write to standard output: broken pipe");

    let place = tempfile::tempdir().unwrap();
    let (dir, out) = (place.path().join("dir"), place.path().join("dir/manifest"));
    fs::create_dir(&dir).unwrap();
    let plugin = Checksum::new(Console::std());
    let spec = spec(Checksum::param(tree.path(), Some(&out)));
    let mut collector = plugin.collector(&spec).unwrap();
    collector.begin(None).await.unwrap();
    fs::remove_dir(&dir).unwrap();
    let failed = collector.after_task_completed(&dtf_model::Counts::default()).await.unwrap_err().to_string();
    assert!(failed.contains("its directory does not exist"), "{failed}");
    // It can be tried again when the directory is back.
    fs::create_dir(&dir).unwrap();
    collector.after_task_completed(&dtf_model::Counts::default()).await.unwrap();
    assert_eq!(fs::read(&out).unwrap(), b"");
}

#[test]
fn bad_parameters_are_refused_with_one_line_and_nothing_is_made() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::write(root.join("file"), "").unwrap();
    fs::create_dir(root.join("dir")).unwrap();
    symlink("dir", root.join("link")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    let before = entries(root);
    let plugin = Checksum::new(Console::std());
    let paths = |dir: &str, out: Option<&str>| {
        Checksum::param(&root.join(dir), out.map(|out| root.join(out)).as_deref())
    };
    for (wrong, says) in [
        (serde_json::json!(null), "it takes dir"),
        (serde_json::json!({}), "name neither or both; it takes dir"),
        (serde_json::json!({ "dir": "/", "check": ["/x"] }), "name neither or both; it takes dir"),
        (serde_json::json!({ "check": ["/none"] }), "/none: No such file or directory; name a manifest"),
        (serde_json::json!({ "dir": "/", "digest": "sha1" }), "unknown variant `sha1`, expected one of"),
        (
            serde_json::json!({ "dir": "/", "from": 1 }),
            "unknown field `from`, expected one of `dir`, `dirs`, `out`",
        ),
        (serde_json::json!({ "dir": 3 }), "expected a string"),
        (serde_json::json!({ "dir": "/", "update": true }), "have a file (out) to be updated"),
        (Checksum::param(Path::new(""), None), "No such file or directory; DIR must be"),
        (paths("nothing\nhere", None), "DIR must be a directory that exists"),
        (paths("file", None), "is no directory; DIR must be one"),
        (paths("link", None), "link/ for what it leads to"),
        (paths("dir", Some("dir")), "is a directory; FILE must be a file"),
        (paths("dir", Some("new/")), "is a directory's name"),
        (paths("dir", Some("none/file")), "its directory does not exist"),
        (paths("dir", Some("file/file")), "Not a directory"),
        (paths("dir", Some("dangling")), "is a symlink that leads to no file"),
        (paths("dir", Some("fifo")), "is no regular file"),
        (Checksum::param(&root.join("dir"), Some(Path::new("/dev/null"))), "is no regular file"),
    ] {
        let refused = plugin.check(&param(wrong.clone())).unwrap_err().to_string();
        assert!(refused.contains(says) && !refused.contains('\n'), "{wrong}: {refused}");
    }
    assert!(plugin.check(&param(paths("link/", Some("new")))).is_ok());
    assert_eq!(entries(root), before);
}
