//! Exclusions from a walk, by patterns as `.gitignore` files have them.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Patterns; a later one outweighs an earlier one, and one that begins with `!` takes back what those before leave out.
#[derive(Clone, Debug)]
pub(super) struct Exclude(Gitignore);

impl Exclude {
    /// Reads patterns.
    ///
    /// # Errors
    /// One that is none, in one line.
    pub(super) fn new(patterns: &[String]) -> Result<Self, String> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|error| wrong(pattern, &error))?;
        }
        builder.build().map(Self).map_err(|error| wrong(&patterns.join(" "), &error))
    }

    /// Returns whether what is at this path below DIR is left out.
    pub(super) fn leaves_out(&self, below: &Path, is_dir: bool) -> bool {
        self.0.matched(below, is_dir).is_ignore()
    }
}

fn wrong(pattern: &str, error: &ignore::Error) -> String {
    let error = error.to_string().replace('\n', " ");
    format!("the pattern {pattern:?} cannot be read ({error}); write one as in a .gitignore file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let patterns = ["*.o", "/build/", "!keep.o", "docs/**/*.tmp"].map(str::to_owned);
        let exclude = Exclude::new(&patterns).unwrap();
        for (path, is_dir, out) in [
            ("a.o", false, true),
            ("deep/er/a.o", false, true),
            ("keep.o", false, false),
            ("build", true, true),
            ("build", false, false),
            ("sub/build", true, false),
            ("docs/a/b/c.tmp", false, true),
            ("docs.tmp", false, false),
        ] {
            assert_eq!(exclude.leaves_out(Path::new(path), is_dir), out, "{path}");
        }
        let refused = Exclude::new(&["a{".to_owned()]).unwrap_err();
        assert!(refused.contains("\"a{\"") && !refused.contains('\n'), "{refused}");
    }
}
