//! What is seen: the log, one line a request, one line an event, metrics, and whether we are ready.
//!
//! * The **log** is `tracing` on standard error, begun by [`init`]. Message reads alone, fields carry what one searches.
//! * The **access log** ([`access_log`]) and the audit log (`event::log`) are lines written off the data path by
//!   [`lines`].
//! * **Metrics** ([`metrics`]): what a request counts costs no lock and touches no memory another worker writes.
//! * **Readiness** and metrics are served by [`admin`], on a listener of its own.
//!
//! Every field has one spelling, in [`field`]. Never in any of these: secrets, tokens, cookies, codes, query values,
//! bodies.

use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::{EnvFilter, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::config::telemetry::{LogFormat, Telemetry};

pub mod access_log;
pub mod admin;
pub mod field;
pub mod lines;
pub mod metrics;

/// Why the log could not begin.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter of the configuration is none.
    #[error("telemetry.log_filter cannot be read")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// This process already logs.
    #[error("the log has already begun")]
    Begun,
    /// The log is no longer there to be changed.
    #[error("the log has ended")]
    Ended,
}

/// The log, to change what it holds while it runs.
#[derive(Debug, Clone)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Begins the log on standard error. Once a process.
///
/// # Errors
/// [`InitError`] when the filter is none or the log has already begun.
pub fn init(config: &Telemetry) -> Result<Log, InitError> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    let registry = tracing_subscriber::registry().with(filter);
    let begun = match config.log_format {
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(io::stderr))
            .try_init(),
        LogFormat::Human => {
            let colour =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            registry.with(fmt::layer().with_ansi(colour).with_target(true).with_writer(OneLine::stderr)).try_init()
        }
    };
    begun.map(|()| Log { filter: handle }).map_err(|_| InitError::Begun)
}

impl Log {
    /// Takes the filter of a new configuration; the format stays as it began.
    ///
    /// # Errors
    /// [`InitError`] when the filter is none.
    pub fn reload(&self, config: &Telemetry) -> Result<(), InitError> {
        self.filter.reload(filter(config)?).map_err(|_| InitError::Ended)
    }
}

/// The driver of RabbitMQ would log the whole body of every message that comes back.
const NEVER: &str = "lapin::returned_messages=off";

fn filter(config: &Telemetry) -> Result<EnvFilter, InitError> {
    let never = NEVER.parse().map_err(InitError::Filter)?;
    Ok(EnvFilter::try_new(&config.log_filter).map_err(InitError::Filter)?.add_directive(never))
}

/// Keeps each record on one line whatever text is in it, so that nobody can write a record by sending a line break.
struct OneLine<W>(W);

impl OneLine<io::Stderr> {
    fn stderr() -> Self {
        Self(io::stderr())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// The formatter hands over one record at a time, its line break last.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let (text, end) = record.strip_suffix(b"\n").map_or((record, &b""[..]), |text| (text, b"\n"));
        // ESC is left to the formatter, which writes colours with it and escapes it in texts.
        let strays = |byte: &u8| matches!(byte, 0..=8 | b'\n'..=0x1a | 0x1c..=0x1f | 0x7f);
        if !text.iter().any(strays) {
            self.0.write_all(record)?;
            return Ok(record.len());
        }
        let mut clean = Vec::with_capacity(record.len() + 16);
        for byte in text {
            if strays(byte) {
                clean.extend(std::ascii::escape_default(*byte));
            } else {
                clean.push(*byte);
            }
        }
        clean.extend_from_slice(end);
        self.0.write_all(&clean)?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_one_line() {
        let mut out = OneLine(Vec::new());
        out.write_all(b"user=a\nERROR forged\r\x07 \x1b[2m\xd0\xb1\n").unwrap();
        assert_eq!(out.0, b"user=a\\nERROR forged\\r\\x07 \x1b[2m\xd0\xb1\n");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let mut config: Telemetry = crate::config::value::all_defaults().unwrap();
        assert!(filter(&config).is_ok());
        config.log_filter = "brama=loud".to_owned();
        assert!(matches!(filter(&config), Err(InitError::Filter(_))));
    }
}
