//! Base64 as XMPP uses it (RFC 4648 §4): the standard alphabet, always padded, nothing else inside.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes bytes, with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let [a, b, c] = group;
        text.push(symbol(a >> 2));
        text.push(symbol(a << 4 | b >> 4));
        text.push(if chunk.len() > 1 { symbol(b << 2 | c >> 6) } else { '=' });
        text.push(if chunk.len() > 2 { symbol(c) } else { '=' });
    }
    text
}

/// Decodes text. `None` if it has a character outside the alphabet (white space too), wrong
/// padding, or bits after the last byte: each run of bytes has exactly one text (RFC 4648 §3.3 and
/// §3.5).
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let (symbols, _) = text.split_at_checked(text.len() - padding)?;
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for symbol in symbols {
        bits = bits << 6 | u32::from(value(*symbol)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// The character for the lowest six bits.
fn symbol(bits: u8) -> char {
    char::from(ALPHABET[usize::from(bits & 0x3f)])
}

fn value(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn refuses_what_is_not_the_one_text() {
        for text in
            ["Zg=", "Zg", "Zh==", "Zm9=", "Z===", "====", "=", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm_v"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn one_text_for_each_value(text in "[A-Za-z0-9+/= ]{0,12}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
