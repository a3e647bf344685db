//! [`ClusterTable`] in memory.

use async_trait::async_trait;
use dtf_model::cluster::ClusterTable;
use dtf_model::error::StoreError;

use super::table::MemoryTable;

#[async_trait]
impl ClusterTable for MemoryTable {
    async fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.state().notes.get(name).cloned())
    }

    async fn note_once(&self, name: &str, value: &str) -> Result<String, StoreError> {
        Ok(self.state().notes.entry(name.to_owned()).or_insert_with(|| value.to_owned()).clone())
    }

    async fn replace_note(&self, name: &str, expected: &str, value: &str) -> Result<bool, StoreError> {
        let mut state = self.state();
        match state.notes.get_mut(name) {
            Some(note) if note == expected || note == value => {
                value.clone_into(note);
                self.write_entry(&mut state, 0);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
