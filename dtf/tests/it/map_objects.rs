//! Objects of a store as sources and sinks of `dtf map`, over HTTP as S3 has it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::support::command::{dtf, told};

/// The objects of a bucket, and the parts of those that are being written.
#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<u32, Vec<u8>>,
    /// The requests that were signed.
    signed: usize,
}

/// Serves a bucket as S3 does, as far as this program asks for it. Returns its endpoint.
fn s3(bucket: Arc<Mutex<Bucket>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let bucket = bucket.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &bucket));
        }
    });
    endpoint
}

fn serve(mut stream: TcpStream, bucket: &Mutex<Bucket>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let mut bucket = bucket.lock().unwrap();
        bucket.signed +=
            usize::from(headers.get("authorization").is_some_and(|sign| sign.contains("AKIDEXAMPLE")));
        let range = headers.get("range").map(String::as_str);
        let (status, more, answer) = bucket.answer(method, target, range, body);
        drop(bucket);
        let length = answer.len();
        write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n{more}\r\n").unwrap();
        if method != "HEAD" {
            stream.write_all(&answer).unwrap();
        }
    }
}

const CHANGED: &str = "Last-Modified: Tue, 01 Dec 2026 00:00:00 GMT\r\n";

impl Bucket {
    fn answer(
        &mut self,
        method: &str,
        target: &str,
        range: Option<&str>,
        body: Vec<u8>,
    ) -> (u16, String, Vec<u8>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = path.strip_prefix("/bucket").unwrap().trim_start_matches('/').to_owned();
        let asked = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        match (method, &key[..]) {
            ("GET", "") => (200, String::new(), self.list(&asked("prefix").unwrap_or_default()).into()),
            ("GET" | "HEAD", key) => {
                let Some(object) = self.objects.get(key) else { return (404, String::new(), Vec::new()) };
                let tag = format!("ETag: \"{}\"\r\n{CHANGED}", object.len());
                let Some(range) = range else { return (200, tag, object.clone()) };
                let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                let content = format!("Content-Range: bytes {from}-{to}/{}\r\n{tag}", object.len());
                (206, content, object[from..=to].to_vec())
            }
            ("POST", key) if query.starts_with("uploads") => {
                let begun = format!(
                    "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>{key}</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                );
                (200, String::new(), begun.into())
            }
            ("PUT", _) => {
                self.parts.insert(asked("partNumber").unwrap().parse().unwrap(), body);
                (200, "ETag: \"part\"\r\n".to_owned(), Vec::new())
            }
            ("POST", key) => {
                let whole = std::mem::take(&mut self.parts).into_values().flatten().collect();
                self.objects.insert(key.to_owned(), whole);
                let done = format!(
                    "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>{key}</Key><ETag>\"x\"</ETag></CompleteMultipartUploadResult>"
                );
                (200, String::new(), done.into())
            }
            other => panic!("{other:?}"),
        }
    }

    fn list(&self, prefix: &str) -> String {
        let prefix = prefix.replace("%2F", "/");
        let below = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
        let contents = below.map(|(key, object)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-12-01T00:00:00Z</LastModified><ETag>\"x\"</ETag><Size>{}</Size></Contents>",
                object.len()
            )
        });
        let contents: String = contents.collect();
        format!(
            "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        )
    }
}

fn map(endpoint: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = dtf(&["map", "-q"]);
    command.args(args).stdin(Stdio::null());
    command.env("AWS_ENDPOINT", endpoint).env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "eu-central-1");
    command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret");
    told(&command.output().unwrap())
}

#[test]
fn items_come_from_an_object_and_results_become_one() {
    let bucket = Arc::new(Mutex::new(Bucket::default()));
    let lines: String = (0..500).map(|n| format!("line {n}\n")).collect();
    bucket.lock().unwrap().objects.insert("in/lines.txt".to_owned(), lines.into());
    let endpoint = s3(bucket.clone());
    let (code, _, stderr) = map(
        &endpoint,
        &[
            "--source",
            "lines:s3://bucket/in/lines.txt",
            "--sink",
            "jsonl:s3://bucket/out/done.jsonl",
            "--",
            "printf",
            "%s",
            "{}",
        ],
    );
    assert_eq!(code, 0, "{stderr}");
    let stored = bucket.lock().unwrap();
    let done = String::from_utf8(stored.objects["out/done.jsonl"].clone()).unwrap();
    let mut said: Vec<_> = done
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["stdout"].as_str().unwrap().to_owned()
        })
        .collect();
    said.sort_unstable();
    let mut wanted: Vec<_> = (0..500).map(|n| format!("line {n}")).collect();
    wanted.sort_unstable();
    assert_eq!(said, wanted);
    assert!(stored.signed > 4, "requests are signed with the key");
}

#[test]
fn the_objects_below_an_address_are_items() {
    let bucket = Arc::new(Mutex::new(Bucket::default()));
    for key in ["in/a", "in/b/c", "other"] {
        bucket.lock().unwrap().objects.insert(key.to_owned(), vec![0; key.len()]);
    }
    let endpoint = s3(bucket);
    let args =
        ["--source", "files:s3://bucket/in/", "--sink", "keep", "--", "printf", "%s %s", "{path}", "{bytes}"];
    let (code, stdout, stderr) = map(&endpoint, &args);
    assert_eq!(code, 0, "{stderr}");
    let mut said: Vec<_> = stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["stdout"].as_str().unwrap().to_owned()
        })
        .collect();
    said.sort_unstable();
    assert_eq!(said, ["s3://bucket/in/a 4", "s3://bucket/in/b/c 6"]);
}

#[test]
fn an_object_that_is_not_there_is_said_so_in_one_line() {
    let endpoint = s3(Arc::default());
    let (code, _, stderr) = map(&endpoint, &["--source", "lines:s3://bucket/none", "--", "true"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("the source s3://bucket/none cannot be opened"), "{stderr}");
    let (code, _, stderr) = map(&endpoint, &["--source", "lines:nowhere://bucket/none", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("nowhere://bucket/none cannot be used as an object store"), "{stderr}");
}
