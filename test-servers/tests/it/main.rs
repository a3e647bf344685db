//! The servers that other tests rely on: they start, keep their data over a kill, and end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use test_servers::servers::{Etcd, MariaDb, Redis};

fn address(url: &str) -> String {
    let rest = url.split_once("://").unwrap().1;
    rest.split('/').next().unwrap().rsplit('@').next().unwrap().to_owned()
}

/// Gives Redis a command; a server that stalls for less than that answers.
fn redis(url: &str, command: &str, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address(url))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[test]
fn redis_is_killed_stopped_and_started_again_with_its_data() {
    if Redis::to_harm().unwrap().is_none() {
        return;
    }
    // Else what was answered last may be lost with it.
    let mut server = Redis::private_with(&["--appendfsync", "always"]).unwrap();
    let url = server.url();
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(500));
    let redis = |command, patience| redis(&url, command, patience);
    assert_eq!(redis("SET k v", long).unwrap(), "+OK\r\n");
    server.stop().unwrap();
    assert!(redis("GET k", short).is_err());
    server.cont().unwrap();
    assert_eq!(redis("GET k", long).unwrap(), "$1\r\nv\r\n");
    server.kill().unwrap();
    assert!(redis("GET k", short).is_err());
    server.restart().unwrap();
    assert_eq!(redis("GET k", long).unwrap(), "$1\r\nv\r\n");
    drop(server);
    assert!(TcpStream::connect(address(&url)).is_err());
}

#[test]
fn etcd_is_killed_and_started_again() {
    let Some(mut server) = Etcd::to_harm().unwrap() else { return };
    server.kill().unwrap();
    assert!(TcpStream::connect(address(&server.url())).is_err());
    server.restart().unwrap();
    assert!(TcpStream::connect(address(&server.url())).is_ok());
}

#[test]
fn mariadb_is_killed_and_started_again() {
    let Some(mut server) = MariaDb::to_harm().unwrap() else { return };
    let address = address(&server.url("any"));
    server.kill().unwrap();
    assert!(TcpStream::connect(&address).is_err());
    server.restart().unwrap();
    drop(server);
    assert!(TcpStream::connect(&address).is_err());
}
