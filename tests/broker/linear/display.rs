//! The text of operations, for contradictions.

use std::{fmt, time::Duration};

use super::model::{Answer, Call, Event, Operation, Streams};

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.numbers().map(|number| format!("s{number}")).collect();
        write!(f, "{{{}}}", all.join(" "))
    }
}

/// ` 12.345 –  14.001 ms  c3  init s4, at most 2, replacing {s1} → opened {s2 s4}`
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |at: Duration| format!("{:.3}", at.as_secs_f64() * 1e3);
        let until = self.answered.map_or_else(String::new, |(at, _)| ms(at));
        let (from, client) = (ms(self.invoked), self.client);
        write!(f, "{from:>9} – {until:>9} ms  c{client}  {}", self.call)?;
        match self.answered {
            Some((_, answer)) => write!(f, " → {answer}")?,
            None => f.write_str(" → no answer yet")?,
        }
        let note = if self.repeated {
            "  (a worker died)"
        } else {
            ""
        };
        f.write_str(note)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Stop(stream) => write!(f, "stop s{stream}"),
            Self::Batch([first, second]) => write!(f, "batch of {first} and {second}"),
            Self::Init {
                stream,
                limits,
                same,
                replace,
            } => {
                write!(f, "init s{stream}")?;
                if let Some(max) = limits.max_active {
                    write!(f, ", at most {max}")?;
                }
                if let Some(max) = limits.devices {
                    write!(f, ", at most {max} devices")?;
                }
                if let Some(max) = limits.live {
                    write!(f, ", at most {max} live")?;
                }
                if limits.replace_oldest {
                    f.write_str(", the oldest give way")?;
                }
                if *same {
                    f.write_str(", instead of its device")?;
                }
                if replace.count() > 0 {
                    write!(f, ", replacing {replace}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat(stream) => write!(f, "heartbeat s{stream}"),
            Self::Stop(stream) => write!(f, "stop s{stream}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { active, replaced } => {
                write!(f, "opened {active}")?;
                if replaced.count() > 0 {
                    write!(f, " in place of {replaced}")?;
                }
                Ok(())
            }
            Self::Refused(reason, streams) => write!(f, "refused, {reason:?} {streams}"),
            Self::Confirmed => f.write_str("confirmed"),
            Self::Active(streams) => write!(f, "active {streams}"),
        }
    }
}
