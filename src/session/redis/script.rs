//! What Redis must do in one step, in Lua.
//!
//! Each script touches the keys of one hash slot only, but for those that write letters: the streams of the outbox are
//! elsewhere, and so is a session that is replaced. Every one may run twice for one call (a reply can get lost) and
//! then says what it said first; [`PUT_DOCUMENT`] cannot, and is never repeated. Times come from the caller: `end` and
//! `until` are compared with its clock, and Redis' own expiry only clears away.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($(#[doc = $doc:literal])* $name:ident = $code:literal) => {
        $(#[doc = $doc])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new($code));
    };
    ($(#[doc = $doc:literal])* $name:ident = telling $code:literal) => {
        $(#[doc = $doc])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(&format!("{TELL}{}", $code)));
    };
}

/// Appends letters to their streams: `tell(k, a)` takes the streams from `KEYS[k]` on, one a letter, and five values a
/// letter from `ARGV[a]` on. In the same script as the change they tell of, it is one step with it.
const TELL: &str = "
        local function tell(k, a)
            while KEYS[k] do
                redis.call('XADD', KEYS[k], '*', 'id', ARGV[a], 'kind', ARGV[a + 1], 'key', ARGV[a + 2],
                    'at', ARGV[a + 3], 'body', ARGV[a + 4])
                k, a = k + 1, a + 5
            end
        end";

script! {
    /// Writes a new record and its time, deletes the session it replaces, tells of it. KEYS record, seen, record and
    /// seen of the replaced (the same as the first two when there is none), streams; ARGV sealed, account, identity, sid,
    /// now, end, life, record life, whether the replaced one must be alive, letters. Gives whether the replaced one was
    /// alive, and what it was indexed by. A record that is what we would write is what we wrote, and was told.
    BEGIN = telling "
        local index, alive = {false, false, false}, 0
        local written = redis.call('HGET', KEYS[1], 'd') == ARGV[1]
        if KEYS[3] ~= KEYS[1] then
            index = redis.call('HMGET', KEYS[3], 'a', 'i', 's')
            local ends = redis.call('HGET', KEYS[4], 'end')
            if ends and tonumber(ends) > tonumber(ARGV[5]) then alive = 1 end
            if ARGV[9] == '1' and (written or alive == 0) then
                return {written and 1 or 0, false, false, false}
            end
            redis.call('DEL', KEYS[3], KEYS[4])
        end
        if not written then tell(5, 10) end
        redis.call('HSET', KEYS[1], 'v', 1, 'd', ARGV[1], 'a', ARGV[2], 'i', ARGV[3], 's', ARGV[4], 'b', ARGV[5])
        redis.call('PEXPIRE', KEYS[1], ARGV[8])
        redis.call('HSET', KEYS[2], 'at', ARGV[5], 'end', ARGV[6])
        redis.call('PEXPIRE', KEYS[2], ARGV[7])
        return {alive, index[1], index[2], index[3]}"
}

script! {
    /// Replaces a record of the right version, and tells of it. KEYS record, seen, streams; ARGV version, next, sealed,
    /// end, now, life, enough, letters.
    /// Gives 0 when it has ended, 1 when the version is another, 2 when done, 3 when done and the record's own life is
    /// less than enough. A record that is what we would write is what we wrote: sealed bytes are never twice the same.
    REPLACE = telling "
        local record = redis.call('HMGET', KEYS[1], 'v', 'd')
        local ends = redis.call('HGET', KEYS[2], 'end')
        if not record[1] or not ends or tonumber(ends) <= tonumber(ARGV[5]) then return 0 end
        if record[1] == ARGV[2] and record[2] == ARGV[3] then return 2 end
        if record[1] ~= ARGV[1] then return 1 end
        tell(3, 8)
        redis.call('HSET', KEYS[1], 'v', ARGV[2], 'd', ARGV[3])
        redis.call('HSET', KEYS[2], 'end', ARGV[4])
        redis.call('PEXPIRE', KEYS[2], ARGV[6])
        local life = redis.call('PTTL', KEYS[1])
        if life < tonumber(ARGV[6]) then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
        if life < tonumber(ARGV[7]) then return 3 end
        return 2"
}

script! {
    /// Moves the time of a session forward. KEYS record, seen; ARGV now, end, life, enough. Gives 0 when it has ended,
    /// 1 when done, 2 when done and the record's own life is less than enough. Writes nothing to the record.
    TOUCH = "
        local seen = redis.call('HMGET', KEYS[2], 'at', 'end')
        if not seen[2] or tonumber(seen[2]) <= tonumber(ARGV[1]) then return 0 end
        local life = redis.call('PTTL', KEYS[1])
        if life == -2 then return 0 end
        if tonumber(ARGV[1]) > tonumber(seen[1]) then redis.call('HSET', KEYS[2], 'at', ARGV[1]) end
        if tonumber(ARGV[2]) > tonumber(seen[2]) then
            redis.call('HSET', KEYS[2], 'end', ARGV[2])
            redis.call('PEXPIRE', KEYS[2], ARGV[3])
        end
        if life < tonumber(ARGV[4]) then return 2 end
        return 1"
}

script! {
    /// Deletes a record and its time, and tells of it if it was alive. KEYS record, seen, streams; ARGV letters. Gives
    /// whether it was alive, and what it was indexed by.
    END = telling "
        local index = redis.call('HMGET', KEYS[1], 'a', 'i', 's')
        local alive = redis.call('EXISTS', KEYS[2])
        if alive == 1 then tell(3, 1) end
        redis.call('DEL', KEYS[1], KEYS[2])
        if not index[1] then return {0, false, false, false} end
        return {alive, index[1], index[2], index[3]}"
}

script! {
    /// Adds a session to an index and drops members whose record is long gone. KEYS index; ARGV member, when its
    /// record will be gone, life, now.
    INDEX = "
        redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[4])
        redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
        if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
        return 1"
}

script! {
    /// Takes or prolongs a lease. KEYS lease; ARGV holder, until, now, life.
    LEASE = "
        local lease = redis.call('HMGET', KEYS[1], 'holder', 'until')
        if lease[1] and lease[1] ~= ARGV[1] and tonumber(lease[2]) > tonumber(ARGV[3]) then return 0 end
        redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[4])
        return 1"
}

script! {
    /// Gives a lease back. KEYS lease; ARGV holder.
    RELEASE = "
        if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('DEL', KEYS[1]) end
        return 1"
}

script! {
    /// Writes a document over the expected one. KEYS document; ARGV 1 if one is expected, the expected, the new.
    PUT_DOCUMENT = "
        local found = redis.call('GET', KEYS[1])
        if ARGV[1] == '0' and found then return 0 end
        if ARGV[1] == '1' and found ~= ARGV[2] then return 0 end
        redis.call('SET', KEYS[1], ARGV[3])
        return 1"
}

script! {
    /// Appends letters. KEYS streams; ARGV letters.
    APPEND = telling "
        tell(1, 1)
        return 1"
}

script! {
    /// Moves the mark of a sink forward and drops what all sinks are past. KEYS marks, stream; ARGV sink, mark, all sinks.
    /// A sink without a mark has not begun: nothing may go then.
    DONE = "
        local function parts(mark)
            local major, minor = string.match(mark, '^(%d+)%-(%d+)$')
            return tonumber(major), tonumber(minor)
        end
        local function before(a, b)
            local a1, a2 = parts(a)
            local b1, b2 = parts(b)
            return a1 < b1 or (a1 == b1 and a2 < b2)
        end
        local own = redis.call('HGET', KEYS[1], ARGV[1])
        if not own or before(own, ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
        local least = false
        for i = 3, #ARGV do
            local mark = redis.call('HGET', KEYS[1], ARGV[i])
            if not mark then return 0 end
            if not least or before(mark, least) then least = mark end
        end
        if not least then return 0 end
        local major, minor = string.match(least, '^(%d+)%-(%d+)$')
        redis.call('XTRIM', KEYS[2], 'MINID', major .. '-' .. string.format('%.0f', tonumber(minor) + 1))
        return 1"
}

script! {
    /// Takes a dead letter back into a stream, for its sink alone. KEYS dead letters, stream; ARGV its place there, the
    /// sink, the letter. Gives 0 when it is not there any more.
    REVIVE = "
        if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
        redis.call('XADD', KEYS[2], '*', 'only', ARGV[2], 'id', ARGV[3], 'kind', ARGV[4], 'key', ARGV[5],
            'at', ARGV[6], 'body', ARGV[7])
        return 1"
}
