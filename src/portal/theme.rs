//! The looks of the pages: the built-in ones, and an operator's folder of templates and assets over them.
//!
//! The folder is looked at again at most once a second, and read again when a name, a size or a time in it has
//! changed. A template that cannot be read or drawn is reported and the built-in page is shown instead.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use serde::Serialize;

use super::{
    asset::{self, Assets, Paint},
    language::Language,
    message::Messages,
    template::{Site, Templates},
};

/// A file larger than this is not a template or an asset; it is left out, and reported.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Templates and assets that belong together.
#[derive(Debug)]
struct Looks {
    templates: Templates,
    assets: Arc<Assets>,
    /// The folder as it was when this was read.
    seen: Vec<Seen>,
    /// Pages that could not be drawn, so that each is reported once and not at every visit.
    reported: Mutex<BTreeSet<String>>,
}

/// A file as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    len: u64,
    modified: Option<SystemTime>,
}

/// The looks of the pages as they are now.
#[derive(Debug)]
pub(crate) struct Theme {
    site: Site,
    paint: Paint,
    messages: Arc<Messages>,
    built_in: Looks,
    overridden: Option<Overridden>,
}

#[derive(Debug)]
struct Overridden {
    folder: PathBuf,
    looks: ArcSwap<Looks>,
    looked_at: Mutex<Instant>,
    every: Duration,
}

/// Why the looks cannot be read at start.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    /// The folder of templates cannot be read.
    #[error("the folder of templates {} cannot be read: make it readable or remove portal.templates", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A built-in template is wrong; a test would show that.
    #[error("a built-in template cannot be read")]
    BuiltIn(#[source] minijinja::Error),
}

impl Theme {
    /// Reads the built-in looks and those of `folder`.
    pub(crate) fn open(
        site: Site,
        paint: Paint,
        messages: Arc<Messages>,
        folder: Option<&Path>,
    ) -> Result<Self, ThemeError> {
        let built_in = looks(&site, &paint, &messages, Vec::new()).map_err(ThemeError::BuiltIn)?;
        let mut theme = Self { site, paint, messages, built_in, overridden: None };
        if let Some(folder) = folder {
            let seen = list(folder).map_err(|source| ThemeError::Folder { folder: folder.to_owned(), source })?;
            let first = looks(&theme.site, &theme.paint, &theme.messages, seen).map_err(ThemeError::BuiltIn)?;
            theme.overridden = Some(Overridden {
                folder: folder.to_owned(),
                looks: ArcSwap::from_pointee(first),
                looked_at: Mutex::new(Instant::now()),
                every: LOOK_EVERY,
            });
        }
        Ok(theme)
    }

    /// Draws the page `name`: as the operator has it, else as it is built in.
    pub(crate) fn draw(
        &self,
        name: &str,
        language: Language,
        context: &impl Serialize,
    ) -> Result<String, minijinja::Error> {
        if let Some(overridden) = &self.overridden {
            self.look_again(overridden);
            let looks = overridden.looks.load();
            match looks.templates.draw(name, language, context) {
                Ok(html) => return Ok(html),
                Err(error) => looks.report_once(&overridden.folder, name, &error),
            }
        }
        self.built_in.templates.draw(name, language, context)
    }

    /// The assets as they are now.
    pub(crate) fn assets(&self) -> Arc<Assets> {
        match &self.overridden {
            Some(overridden) => {
                self.look_again(overridden);
                Arc::clone(&overridden.looks.load().assets)
            }
            None => Arc::clone(&self.built_in.assets),
        }
    }

    /// Reads the folder again when it has changed. A folder that cannot be read keeps the looks it last gave.
    fn look_again(&self, overridden: &Overridden) {
        {
            let mut looked_at = overridden.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
            if looked_at.elapsed() < overridden.every {
                return;
            }
            *looked_at = Instant::now();
        }
        let seen = match list(&overridden.folder) {
            Ok(seen) => seen,
            Err(error) => {
                tracing::error!(folder = %overridden.folder.display(), %error, "the folder of templates cannot be read; the last looks stay");
                return;
            }
        };
        if seen == overridden.looks.load().seen {
            return;
        }
        match looks(&self.site, &self.paint, &self.messages, seen) {
            Ok(looks) => {
                overridden.looks.store(Arc::new(looks));
                tracing::info!(folder = %overridden.folder.display(), "templates and assets were read again");
            }
            Err(error) => tracing::error!(%error, "templates cannot be read; the last looks stay"),
        }
    }
}

impl Looks {
    fn report_once(&self, folder: &Path, page: &str, error: &minijinja::Error) {
        if self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(page.to_owned()) {
            report(folder, page, error);
        }
    }
}

/// Reads the files of a listing over the built-in ones.
fn looks(site: &Site, paint: &Paint, messages: &Arc<Messages>, seen: Vec<Seen>) -> Result<Looks, minijinja::Error> {
    let mut templates = Vec::new();
    let mut assets = Vec::new();
    for file in &seen {
        let Some(name) = file.path.file_name().and_then(|name| name.to_str()) else { continue };
        match read(file) {
            Ok(bytes) if name.ends_with(".html") => match String::from_utf8(bytes) {
                Ok(source) => templates.push((name.to_owned(), source)),
                Err(_) => tracing::error!(file = %file.path.display(), "the template is not UTF-8; left out"),
            },
            Ok(bytes) => assets.push((name.to_owned(), bytes)),
            Err(error) => tracing::error!(file = %file.path.display(), %error, "the file cannot be read; left out"),
        }
    }
    let assets = Arc::new(Assets::new(format!("{}/static", site.prefix), paint, &assets));
    let (templates, broken) = Templates::new(site, messages, &assets, &templates)?;
    for broken in broken {
        let folder = seen.first().and_then(|file| file.path.parent()).unwrap_or(Path::new("."));
        report(folder, &broken.name, &broken.error);
    }
    Ok(Looks { templates, assets, seen, reported: Mutex::default() })
}

fn read(file: &Seen) -> io::Result<Vec<u8>> {
    if file.len > MAX_FILE {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE} bytes")));
    }
    fs::read(&file.path)
}

/// The templates and assets directly inside `folder`, in the order of their names.
fn list(folder: &Path) -> io::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ours = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with(".html") || asset::content_type(name).is_some());
        // `metadata` follows links: mounted configuration is often made of them.
        if let (true, Ok(metadata)) = (ours, fs::metadata(&path))
            && metadata.is_file()
        {
            seen.push(Seen { path, len: metadata.len(), modified: metadata.modified().ok() });
        }
    }
    seen.sort();
    Ok(seen)
}

/// Tells the operator which of their templates is wrong, and in which line.
fn report(folder: &Path, page: &str, error: &minijinja::Error) {
    let file = folder.join(error.name().unwrap_or(page));
    let line = error.line().unwrap_or_default();
    tracing::error!(file = %file.display(), line, page, %error, "the template is wrong; the built-in page is shown instead");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theme(folder: &Path) -> Theme {
        let site = Site { prefix: "/oauth2".into(), title: "Acme".into(), logo_url: None, support_url: None };
        let paint = Paint { colour: "#112233".into(), properties: String::new() };
        let messages = Arc::new(Messages::built_in().unwrap());
        let mut theme = Theme::open(site, paint, messages, Some(folder)).unwrap();
        theme.overridden.as_mut().unwrap().every = Duration::ZERO;
        theme
    }

    fn signed_out(theme: &Theme) -> String {
        let page = crate::portal::page::SignedOut { sign_in_url: "/in".into(), ..Default::default() };
        theme.draw("signed_out.html", Language::English, &page).unwrap()
    }

    #[test]
    fn an_override_is_shown_and_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let theme = theme(folder.path());
        let built_in = signed_out(&theme);
        assert!(built_in.contains("You are signed out"));
        let file = folder.path().join("signed_out.html");
        fs::write(&file, "Bye from {{ site.title }}: {{ t('signed-out-again') }}").unwrap();
        assert_eq!(signed_out(&theme), "Bye from Acme: Sign in again");
        fs::write(&file, "Farewell, and <b>{{ sign_in_url }}</b>").unwrap();
        assert_eq!(signed_out(&theme), "Farewell, and <b>/in</b>");
        fs::remove_file(&file).unwrap();
        assert_eq!(signed_out(&theme), built_in);
    }

    #[test]
    fn a_broken_override_gives_way_to_the_built_in_page() {
        let folder = tempfile::tempdir().unwrap();
        let theme = theme(folder.path());
        let built_in = signed_out(&theme);
        for (index, broken) in [
            "{% if %}",
            "{{ no_such_name }}",
            "{{ t('a'",
            "{% extends 'signed_out.html' %}",
            "{{ asset('no-such.css') }}",
            "{% for a in range(9000) %}{% for b in range(9000) %}{{ a * b }}{% endfor %}{% endfor %}",
        ]
        .into_iter()
        .enumerate()
        {
            // A different length each time: the clock of a file system may be too coarse to tell two writes apart.
            fs::write(folder.path().join("signed_out.html"), format!("{broken}{}", " ".repeat(index))).unwrap();
            assert_eq!(signed_out(&theme), built_in, "{broken}");
        }
        fs::remove_file(folder.path().join("signed_out.html")).unwrap();
        fs::write(folder.path().join("base.html"), "{% block").unwrap();
        assert_eq!(signed_out(&theme), built_in);
    }

    #[test]
    fn the_operator_is_told_once_which_file_and_line_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("signed_out.html"), "fine\nfine\n{{ no_such_name }}").unwrap();
        fs::write(folder.path().join("error.html"), "fine\n{% if %}").unwrap();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let theme = theme(folder.path());
            signed_out(&theme);
            signed_out(&theme);
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let told = |file: &str, line: &str| {
            let file = folder.path().join(file).display().to_string();
            log.lines().filter(|entry| entry.contains(&file) && entry.contains(line)).count()
        };
        assert_eq!(told("error.html", "line=2"), 1, "{log}");
        assert_eq!(told("signed_out.html", "line=3"), 1, "{log}");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_override_cannot_print_unescaped_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("signed_out.html"), "<a title='{{ sign_in_url }}'>").unwrap();
        let page = crate::portal::page::SignedOut { sign_in_url: "'><script>".into(), ..Default::default() };
        let html = theme(folder.path()).draw("signed_out.html", Language::English, &page).unwrap();
        assert_eq!(html, "<a title='&#39;&gt;&lt;script&gt;'>");
    }

    #[test]
    fn an_operator_s_asset_is_served_and_linked() {
        let folder = tempfile::tempdir().unwrap();
        let theme = theme(folder.path());
        assert!(theme.assets().url("logo.png").is_none());
        fs::write(folder.path().join("logo.png"), b"png").unwrap();
        fs::write(folder.path().join("secret.txt"), b"txt").unwrap();
        assert!(theme.assets().get("logo.png", None, None).is_some());
        assert!(theme.assets().get("secret.txt", None, None).is_none());
        assert!(theme.assets().get("google.svg", None, None).is_some());
    }

    #[test]
    fn a_missing_folder_is_a_mistake_of_the_configuration() {
        let site = Site { prefix: "/oauth2".into(), title: "Acme".into(), logo_url: None, support_url: None };
        let paint = Paint { colour: "#112233".into(), properties: String::new() };
        let messages = Arc::new(Messages::built_in().unwrap());
        let error = Theme::open(site, paint, messages, Some(Path::new("/no/such/folder"))).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"));
    }
}
