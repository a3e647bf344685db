//! Sources: lazy, and resumable at a position that is saved with each batch.

mod counted;
mod csv;
mod file;
mod input;
mod records;

use dtf_model::plugin::TaskGenerator;

use self::counted::Counted;
use self::file::{FileSource, Format};
use crate::param::{CsvFile, Source};

/// Makes the generator of a source.
pub(crate) fn generator(source: Source) -> Box<dyn TaskGenerator> {
    match source {
        Source::List(items) => {
            let end = items.len() as u64;
            Box::new(Counted::new(0..end, move |index: u64| items[index as usize].to_string()))
        }
        Source::Range { from, to } => Box::new(Counted::new(from..to, |number: u64| number.to_string())),
        Source::Lines(path) => Box::new(FileSource::new(path, Format::Lines)),
        Source::Jsonl(path) => Box::new(FileSource::new(path, Format::Jsonl)),
        Source::Csv(CsvFile { path, delimiter, header }) => {
            let format = Format::Csv { delimiter: delimiter as u8, header };
            Box::new(FileSource::new(path, format))
        }
    }
}
