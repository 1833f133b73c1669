//! Content headers: the encoded properties of a message.

/// The value of the property `cluster_id` in repaired messages. AMQP 0.9.1 deprecates the property,
/// and RabbitMQ neither reads nor sets it.
pub(super) const UNDECODABLE: &[u8] = b"streamwatch.undecodable";
/// Deepest nesting of tables and arrays. lapin decodes them recursively, on a thread's stack.
const MAX_DEPTH: u32 = 16;
/// The header with an entry's offset in its log.
const OFFSET: &[u8] = b"x-stream-offset";
/// Size of the class, the weight and the body size, which precede the property flags.
const FIXED: usize = 12;
/// The index of `cluster_id` among the properties.
const CLUSTER_ID: usize = 13;

#[derive(Clone, Copy)]
enum PropertyType {
    Text,
    Table,
    Octet,
    Timestamp,
}

const PROPERTIES: [PropertyType; 14] = {
    use PropertyType::{Octet, Table, Text, Timestamp};
    [
        Text, Text, Table, Octet, Octet, Text, Text, Text, Text, Timestamp, Text, Text, Text, Text,
    ]
};

/// Returns a payload of a header frame that lapin can decode; `None` if it can decode `payload`
/// itself.
///
/// Leaves out properties that are not UTF-8, and all headers except the entry's offset. Keeps the
/// publisher's identity and the reply address.
pub(super) fn repaired(payload: &[u8], fits: bool) -> Option<Vec<u8>> {
    if fits && is_decodable(payload).is_some() {
        return None;
    }
    Some(rebuilt(payload))
}

/// Returns `Some` if lapin can decode the payload. Called for every message, so it does not
/// allocate.
fn is_decodable(payload: &[u8]) -> Option<()> {
    let (flags, mut rest) = properties(payload)?;
    for (place, kind) in PROPERTIES.into_iter().enumerate() {
        if flags & (1 << (15 - place)) == 0 {
            continue;
        }
        match kind {
            PropertyType::Text => str::from_utf8(rest.text()?).ok().map(drop)?,
            PropertyType::Table => rest.long()?.entries(b'F', MAX_DEPTH)?,
            PropertyType::Octet => rest.take(1).map(drop)?,
            PropertyType::Timestamp => rest.take(8).map(drop)?,
        }
    }
    rest.0.is_empty().then_some(())
}

fn rebuilt(payload: &[u8]) -> Vec<u8> {
    let mut fixed = payload.get(..FIXED).unwrap_or_default().to_vec();
    fixed.resize(FIXED, 0);
    let (mut kept, mut found) = (0_u16, Vec::new());
    if let Some((flags, mut rest)) = properties(payload) {
        for (place, kind) in PROPERTIES[..CLUSTER_ID].iter().enumerate() {
            let flag = 1 << (15 - place);
            if flags & flag == 0 {
                continue;
            }
            let before = rest.0;
            let Some(keep) = rest.property(*kind) else {
                break;
            };
            match keep {
                Keep::Nothing => continue,
                Keep::Same => found.extend_from_slice(&before[..before.len() - rest.0.len()]),
                Keep::Table(table) => {
                    let size = u32::try_from(table.len()).unwrap_or_default();
                    found.extend_from_slice(&size.to_be_bytes());
                    found.extend_from_slice(&table);
                }
            }
            kept |= flag;
        }
    }
    kept |= 1 << (15 - CLUSTER_ID);
    fixed.extend_from_slice(&kept.to_be_bytes());
    fixed.extend_from_slice(&found);
    fixed.push(u8::try_from(UNDECODABLE.len()).unwrap_or_default());
    fixed.extend_from_slice(UNDECODABLE);
    fixed
}

enum Keep {
    Nothing,
    Same,
    Table(Vec<u8>),
}

fn properties(payload: &[u8]) -> Option<(u16, Bytes<'_>)> {
    let flags = payload.get(FIXED..FIXED + 2)?;
    let flags = u16::from_be_bytes(flags.try_into().ok()?);
    Some((flags, Bytes(payload.get(FIXED + 2..)?)))
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads a short string.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    /// Reads a long string, a table or an array.
    fn long(&mut self) -> Option<Self> {
        let size = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(size).ok()?).map(Bytes)
    }

    fn property(&mut self, kind: PropertyType) -> Option<Keep> {
        match kind {
            PropertyType::Text => {
                let text = self.text()?;
                Some(match str::from_utf8(text) {
                    Ok(_) => Keep::Same,
                    Err(_) => Keep::Nothing,
                })
            }
            PropertyType::Table => self.long().map(|table| Keep::Table(table.offsets())),
            PropertyType::Octet => self.take(1).map(|_| Keep::Same),
            PropertyType::Timestamp => self.take(8).map(|_| Keep::Same),
        }
    }

    /// Reads a value of a table or an array: its type, and its content if it is a table or an
    /// array.
    fn value(&mut self) -> Option<(u8, Option<Self>)> {
        let kind = self.take(1)?[0];
        let size = match kind {
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'V' => 0,
            b'S' | b'x' => return self.long().map(|_| (kind, None)),
            b'A' | b'F' => return self.long().map(|inside| (kind, Some(inside))),
            _ => return None,
        };
        self.take(size).map(|_| (kind, None))
    }

    /// Reads all entries. `None` if lapin cannot decode one, or if they are nested deeper than
    /// `depth`.
    fn entries(mut self, of: u8, depth: u32) -> Option<()> {
        let inside = depth.checked_sub(1)?;
        while !self.0.is_empty() {
            if of == b'F' {
                str::from_utf8(self.text()?).ok()?;
            }
            if let (kind, Some(content)) = self.value()? {
                content.entries(kind, inside)?;
            }
        }
        Some(())
    }

    /// The encoded `x-stream-offset` headers of the table.
    fn offsets(mut self) -> Vec<u8> {
        let mut found = Vec::new();
        while !self.0.is_empty() {
            let before = self.0;
            let Some(key) = self.text() else { break };
            let Some((kind, _)) = self.value() else { break };
            if key == OFFSET && matches!(kind, b'l' | b'L') {
                found.extend_from_slice(&before[..before.len() - self.0.len()]);
            }
        }
        found
    }
}
