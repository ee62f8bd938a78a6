//! What Redis must do in one step, in Lua.
//!
//! Each script touches the keys of one hash slot only. Every one may run twice for one call (a reply can get lost) and
//! then says what it said first; [`PUT_DOCUMENT`] cannot, and is never repeated. Times come from the caller: `end` and
//! `until` are compared with its clock, and Redis' own expiry only clears away.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($(#[doc = $doc:literal])* $name:ident = $code:literal) => {
        $(#[doc = $doc])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new($code));
    };
}

script! {
    /// Writes a new record and its time. KEYS record, seen; ARGV sealed, account, identity, sid, now, end, life, record life.
    BEGIN = "
        redis.call('HSET', KEYS[1], 'v', 1, 'd', ARGV[1], 'a', ARGV[2], 'i', ARGV[3], 's', ARGV[4], 'b', ARGV[5])
        redis.call('PEXPIRE', KEYS[1], ARGV[8])
        redis.call('HSET', KEYS[2], 'at', ARGV[5], 'end', ARGV[6])
        redis.call('PEXPIRE', KEYS[2], ARGV[7])
        return 1"
}

script! {
    /// Replaces a record of the right version. KEYS record, seen; ARGV version, next, sealed, end, now, life, enough.
    /// Gives 0 when it has ended, 1 when the version is another, 2 when done, 3 when done and the record's own life is
    /// less than enough. A record that is what we would write is what we wrote: sealed bytes are never twice the same.
    REPLACE = "
        local record = redis.call('HMGET', KEYS[1], 'v', 'd')
        local ends = redis.call('HGET', KEYS[2], 'end')
        if not record[1] or not ends or tonumber(ends) <= tonumber(ARGV[5]) then return 0 end
        if record[1] == ARGV[2] and record[2] == ARGV[3] then return 2 end
        if record[1] ~= ARGV[1] then return 1 end
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
    /// Deletes a record and its time. KEYS record, seen. Gives whether it was alive, and what it was indexed by.
    END = "
        local index = redis.call('HMGET', KEYS[1], 'a', 'i', 's')
        local alive = redis.call('EXISTS', KEYS[2])
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
