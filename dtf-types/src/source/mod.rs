//! Sources: lazy, and resumable at a position that is saved with each batch.

mod counted;
mod csv;
mod file;
mod files;
mod input;
mod items;
mod records;
mod sql;

use std::sync::Arc;

use dtf_model::TaskSpec;
use dtf_model::connection::SqlConnections;
use dtf_model::plugin::TaskGenerator;

use self::counted::Counted;
use self::file::{FileSource, Format};
use self::files::Files;
pub(crate) use self::input::Version;
use self::items::ItemSource;
pub(crate) use self::items::ItemStores;
use self::sql::SqlSource;
use crate::param::{CsvFile, Source};
use crate::stores::ObjectStores;

/// Makes the generator of a source.
///
/// # Errors
/// The process has not the stores that the source takes.
pub(crate) fn generator(
    source: Source,
    spec: &TaskSpec,
    items: Option<ItemStores>,
    stores: Option<ObjectStores>,
    connections: Option<Arc<dyn SqlConnections>>,
) -> anyhow::Result<Box<dyn TaskGenerator>> {
    Ok(match source {
        Source::Items => {
            let Some(items) = items else { anyhow::bail!("this process reads no items that are fed") };
            Box::new(ItemSource::new(items, spec.id, spec.run))
        }
        Source::List(items) => {
            let end = items.len() as u64;
            Box::new(Counted::new(0..end, move |index: u64| items[index as usize].to_string()))
        }
        Source::Range { from, to } => Box::new(Counted::new(from..to, |number: u64| number.to_string())),
        Source::Sql(query) => Box::new(SqlSource::new(connections, query)),
        Source::Files(place) => Box::new(Files::new(place, stores)),
        Source::Lines(path) => Box::new(FileSource::new(path, Format::Lines, stores)),
        Source::Jsonl(path) => Box::new(FileSource::new(path, Format::Jsonl, stores)),
        Source::Csv(CsvFile { path, delimiter, header }) => {
            let format = Format::Csv { delimiter: delimiter as u8, header };
            Box::new(FileSource::new(path, format, stores))
        }
    })
}
