//! Requests for the items of tasks of type `map`, and at their ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::command::run;

/// Answers requests with what `answer` makes of their path and body, as long as the process lives.
fn receiver(answer: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &*answer));
        }
    });
    url
}

fn serve(stream: TcpStream, answer: &dyn Fn(&str, &str) -> (u16, String)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let path = first.split(' ').nth(1).unwrap();
        let (status, body) = answer(path, &String::from_utf8(body).unwrap());
        let length = body.len();
        write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    }
}

#[test]
fn each_item_is_a_request_whose_answer_is_its_result() {
    let busy = Mutex::new(std::collections::BTreeSet::new());
    let url = receiver(move |path, body| {
        let n: u64 = body.parse().unwrap();
        assert_eq!(path, format!("/square?n={n}"));
        // Each is turned away once.
        match busy.lock().unwrap().insert(n) {
            true => (503, "later".to_owned()),
            false if n == 13 => (422, "unlucky".to_owned()),
            false => (200, (n * n).to_string()),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let failed = dir.path().join("failed");
    let to = format!("{url}/square?n={{}}");
    let failed_arg = format!("jsonl:{}", failed.display());
    let args = ["map", "--source", "range:20", "--http", &to, "--sink", "keep", "--failed", &failed_arg];
    let (code, stdout, stderr) = run(&args);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("map:http:push completed"), "{stderr}");
    let mut results: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    results.sort_by_key(|result| result["body"].as_u64());
    let expected: Vec<_> =
        (0..20_u64).filter(|n| *n != 13).map(|n| json!({"status": 200, "body": n * n})).collect();
    assert_eq!(results, expected);
    let failed: Value = serde_json::from_str(&std::fs::read_to_string(failed).unwrap()).unwrap();
    assert_eq!((&failed["item"], &failed["error"]), (&json!(13), &json!("it answered 422: unlucky")));
}

#[test]
fn a_receiver_is_told_of_the_end_and_asked_again_until_it_accepts() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let url = receiver(move |_, body| {
        let mut seen = seen.lock().unwrap();
        seen.push(serde_json::from_str::<Value>(body).unwrap());
        (if seen.len() < 2 { 500 } else { 204 }, String::new())
    });
    let sink = format!("webhook:{url}/done");
    let (code, _, stderr) = run(&["map", "--source", "list:a,b,c", "--sink", &sink, "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2);
    let data = json!({"items": 3, "succeeded": 3, "failed": 0});
    for end in told.iter() {
        assert_eq!((&end["run"], &end["result"]["data"]), (&json!(1), &data));
    }
    let (code, _, stderr) = run(&["map", "--source", "list:a", "--sink", "webhook:nowhere", "--", "true"]);
    assert!(code == 2 && stderr.contains("the url of the sink"), "{stderr}");
}
