//! Which byte may stand where.

/// A character of a token (RFC 9110 §5.6.2): methods and field names.
pub(crate) const fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    ) || byte.is_ascii_alphanumeric()
}

/// [`is_token`] as a table: field names are read byte by byte on every request.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a u8 cannot leave a table of 256")]
        {
            table[byte as usize] = is_token(byte);
        }
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    table
};

/// How many bytes at the start are token characters.
pub(super) fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !TOKEN.get(usize::from(*byte)).copied().unwrap_or(false)).unwrap_or(bytes.len())
}

/// True when a control other than HTAB stands in it (RFC 9110 §5.5).
pub(super) fn has_control(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    // A word at a time: values are short, and looked at on every request.
    words.iter().any(|word| may_have_control(u64::from_le_bytes(*word)) && word.iter().any(is_control))
        || rest.iter().any(is_control)
}

fn is_control(byte: &u8) -> bool {
    (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f
}

/// False only when no byte of the word is below a space or DEL: where it is true, a closer look tells which.
fn may_have_control(word: u64) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let has_less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word & HIGH != 0;
    has_less(word, 0x20) || has_less(word ^ (ONES * 0x7f), 1)
}

/// True when every byte may stand in a request target: visible ASCII but no fragment (threat model, 2.2).
pub(super) fn is_target(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, &byte| good & (byte > 0x20) & (byte < 0x7f) & (byte != b'#'))
}

/// True when every byte may stand in a Host field: what separates a host from something else may not.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| IN_HOST.get(usize::from(*byte)).copied().unwrap_or(false))
}

static IN_HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        #[expect(clippy::indexing_slicing, reason = "below 0x7f, in a table of 256")]
        {
            table[byte] = !matches!(
                byte as u8,
                b'/' | b'\\' | b'?' | b'#' | b'@' | b',' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^'
            );
        }
        byte += 1;
    }
    table
};

/// Without the optional whitespace around it (RFC 9110 §5.6.3).
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A decimal number: digits only, up to `i64::MAX` so that no reader's integer wraps (RFC 9112 §6.3).
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 19 {
        return None;
    }
    let number = bytes.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    (number <= i64::MAX as u64).then_some(number)
}

/// The value of a hexadecimal digit.
pub(super) const fn hex(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some((byte - b'0') as u64),
        b'a'..=b'f' => Some((byte - b'a' + 10) as u64),
        b'A'..=b'F' => Some((byte - b'A' + 10) as u64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_bounded() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in ["", "+1", "-1", " 1", "1 ", "1,1", "0x1", "9223372036854775808", "99999999999999999999", "1_0"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn controls_are_found_wherever_they_stand() {
        for position in 0..40 {
            for byte in 0..=255u8 {
                let mut value = vec![b'a'; 40];
                value[position] = byte;
                let control = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
                assert_eq!(has_control(&value), control, "{byte:#x} at {position}");
            }
        }
    }
}
