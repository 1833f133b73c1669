// The rules of style that a pattern can hold, and the glossary. `sentence` rules are matched against
// one sentence at a time, all others against a paragraph; code in backticks is never matched.
//
// A pattern belongs here only if it is wrong nearly always: there is no list of exceptions.

export const RULES = [
  // 1. The subject of a sentence is a noun of the glossary.
  {
    sentence: /^(?:What|Whoever|Whatever|Who|Those who|One that|So many)\b(?!.*\?)/,
    write: "a noun: worker, replica, partition, log, entry, stream, account, player, backend, broker",
    bad: "What a handshake failed of.",
    good: "The reason a TLS handshake failed.",
  },
  {
    pattern: /\b(?:whoever|whomever|nobody|somebody|everybody)\b/i,
    write: "the noun: no worker, a client, each subscriber",
    bad: "Events are buffered while nobody works.",
    good: "Events are buffered while no worker runs.",
  },

  // 2. "if" and "when" for conditions; "where" only for places.
  {
    pattern: /(?<=\b(?:only|except|but|even|also|\w,)\s)where\b|\bwhere (?:there (?:is|are)|no|none|any|one)\b/i,
    write: '"if" or "when"; "where" is for places',
    bad: "Left out where there are none.",
    good: "Left out if there are none.",
  },

  // 3. A program does not say, tell, hear, bear, know or speak.
  {
    pattern: /\b(?:say|says|said|saying)\b/i,
    write: "reports, states, contains, names, means",
    bad: "A confirm says that a message is safe.",
    good: "A confirm means that a message is stored.",
  },
  {
    pattern: /\b(?:tell|tells|told|telling)\b/i,
    write: "sends, notifies, reports, distinguishes",
    bad: "The player is told the new interval.",
    good: "The player is sent the new interval.",
  },
  {
    pattern: /\b(?:hear|hears|heard|hearing|bears?|borne|speaks?|spoke|spoken|speaking)\b/i,
    write: "receives, carries, supports, uses",
    bad: "Devices that speak MQTT are heard.",
    good: "Messages of devices that use MQTT are received.",
  },
  {
    pattern: /\b(?:know|knows|knew|knowing)\b/i,
    write: "has, records, finds, learns from",
    bad: "A worker knows the offset.",
    good: "A worker has the offset.",
  },
  {
    pattern: /\b(?:look(?:s|ed|ing)? after|(?:give|gives|given|gave) back|(?:come|comes|came) to be)\b/i,
    write: "manages, returns, frees, becomes",
    bad: "It gives back memory.",
    good: "It returns memory to the operating system.",
  },

  // The glossary: one word for one thing.
  {
    pattern: /\bfacts?\b/i,
    write: "lifecycle event",
    bad: "Facts of the lifecycle are announced.",
    good: "Lifecycle events are announced.",
  },
  {
    pattern: /\blease(?:s|'s)?\b/i,
    write: "leader",
    bad: "The lease's holder writes snapshots.",
    good: "The leader writes snapshots.",
  },
  {
    pattern: /\b(?:gravestones?|ghosts?)\b/i,
    write: "tombstone; a stream that is over-counted",
    bad: "Ghosts stay for a TTL.",
    good: "A stream without a stop is over-counted for a TTL.",
  },
];
