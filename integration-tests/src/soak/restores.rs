//! Restores of one store from a backup, while the others stay as they are.

use super::Soak;
use crate::stage::{Service, answer};

impl Soak {
    /// Backs a store up, lets everything go on for a while, and puts the backup in place of what is there then. All processes
    /// are ended meanwhile, as the docs demand.
    pub(super) fn restore(&mut self, which: u64) {
        let backup = tempfile::tempdir_in(self.site.dir.path()).unwrap();
        self.end_all();
        match which {
            0 => {
                self.site.etcd.kill().unwrap();
                self.site.etcd.back_up(backup.path()).unwrap();
                self.site.etcd.restart().unwrap();
            }
            1 => {
                self.site.sql.kill().unwrap();
                self.site.sql.back_up(backup.path()).unwrap();
                self.site.sql.restart().unwrap();
            }
            _ => {
                self.site.redis.kill().unwrap();
                self.site.redis.back_up(backup.path()).unwrap();
                self.site.redis.restart().unwrap();
            }
        }
        let last = answer(&self.site.sql.url(crate::stage::Site::DATABASE), "SELECT MAX(id) FROM tbl_task");
        self.begin_all();
        for _ in 0..3 {
            self.tend();
            self.endure();
        }
        self.end_all();
        match which {
            0 => {
                self.site.etcd.kill().unwrap();
                self.site.etcd.restore(backup.path()).unwrap();
                self.site.etcd.restart().unwrap();
            }
            1 => {
                self.site.sql.kill().unwrap();
                self.site.sql.restore(backup.path()).unwrap();
                self.site.sql.restart().unwrap();
                self.forget_tasks_behind(last.unwrap_or(0));
            }
            _ => {
                self.site.redis.kill().unwrap();
                self.site.redis.restore(backup.path()).unwrap();
                self.site.redis.restart().unwrap();
            }
        }
        self.oversleep();
        self.begin_all();
    }

    /// Ends all processes.
    fn end_all(&mut self) {
        self.services.iter_mut().for_each(Service::kill);
    }

    fn begin_all(&mut self) {
        (0..self.services.len()).for_each(|at| self.begin_again(at));
        self.services.iter().for_each(Service::until_ready);
    }

    /// The database knows no task with a higher number any more: such tasks are created again. Tasks that run the failed subtasks of
    /// another one again are given up where they are lost, as that one may not have ended yet.
    fn forget_tasks_behind(&mut self, last: u64) {
        self.load.retain(|entry| !entry.is_retry() || entry.id.is_some_and(|id| id <= last));
        for entry in &mut self.load {
            entry.id = entry.id.filter(|id| *id <= last);
        }
    }
}
