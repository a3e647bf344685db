//! Sources: lazy, and resumable at a position that is saved with each batch.

mod counted;
mod file;

use dtf_model::plugin::TaskGenerator;

use self::counted::Counted;
use self::file::FileSource;
use crate::param::Source;

/// Makes the generator of a source.
pub(crate) fn generator(source: Source) -> Box<dyn TaskGenerator> {
    match source {
        Source::List(items) => {
            let end = items.len() as u64;
            Box::new(Counted::new(0..end, move |index: u64| items[index as usize].to_string()))
        }
        Source::Range { from, to } => Box::new(Counted::new(from..to, |number: u64| number.to_string())),
        Source::Lines(path) => Box::new(FileSource::lines(path)),
        Source::Jsonl(path) => Box::new(FileSource::jsonl(path)),
    }
}
