//! The scripts, each with the parts that it needs. The server is given one once, and again after it has forgotten it.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = [$($part:literal),+];)+) => {
        $(pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!($(include_str!(concat!("lua/", $part, ".lua"))),+))
        });)+

        #[cfg(test)]
        pub(crate) const HEADS: &[(&str, &[&str])] = &[$((stringify!($name), &[$(include_str!(concat!("lua/", $part, ".lua"))),+])),+];
    };
}

scripts! {
    OPEN = ["common", "discard", "open"];
    PURGE = ["common", "discard", "purge"];
    SET_CONTROL = ["common", "set_control"];
    CLOSE = ["common", "close"];
    STOP = ["common", "stop"];
    SET_WAITS = ["common", "set_waits"];
    LOAD_GENERATOR = ["common", "stream", "backlog", "load_generator"];
    PUSH = ["common", "parcel", "keyed", "stream", "backlog", "push"];
    READ_BACKLOG = ["common", "backlog", "read_backlog"];
    LOAD_SCHEDULER = ["common", "parcel", "load_scheduler"];
    TAKE = ["common", "parcel", "keyed", "take"];
    PUT_BACK = ["common", "parcel", "keyed", "put_back"];
    COMPLETE = ["common", "parcel", "keyed", "stream", "done", "complete"];
    RECOVER = ["common", "parcel", "keyed", "done", "recover"];
    RUNS_ON = ["common", "parcel", "runs_on"];
    MARK_SUSPECT = ["common", "parcel", "mark_suspect"];
    LOAD_COLLECTOR = ["common", "stream", "results", "load_collector"];
    PEEK = ["common", "results", "peek"];
    COMMIT = ["common", "parcel", "keyed", "stream", "state", "books", "commit"];
    CONCLUDE = ["common", "books", "conclude"];
    SHARD_CALLS = ["common", "shard_calls"];
}

#[cfg(test)]
mod tests {
    use super::HEADS;

    #[test]
    fn every_script_says_its_keys_and_its_reply() {
        for (name, parts) in HEADS {
            let own = parts.last().unwrap();
            let head: String = own.lines().take_while(|line| line.starts_with("--")).collect();
            assert!(head.contains("KEYS: ") && head.contains("Reply: "), "{name}: {head}");
        }
    }
}
