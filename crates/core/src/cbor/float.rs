//! Floats that fit a shorter form without losing a bit. NaN keeps its payload.

/// The 32-bit form of a 64-bit float, if it is exact.
pub(super) fn shorten_64(bits: u64) -> Option<u32> {
    let value = f64::from_bits(bits);
    if value.is_nan() {
        let mantissa = bits & 0x000f_ffff_ffff_ffff;
        let sign = (bits >> 32) as u32 & 0x8000_0000;
        return (mantissa & 0x1fff_ffff == 0)
            .then_some(sign | 0x7f80_0000 | (mantissa >> 29) as u32);
    }
    let short = value as f32;
    (f64::from(short).to_bits() == bits).then_some(short.to_bits())
}

/// The 16-bit form of a 32-bit float, if it is exact.
pub(super) fn shorten_32(bits: u32) -> Option<u16> {
    let sign = (bits >> 16) as u16 & 0x8000;
    let mantissa = bits & 0x007f_ffff;
    let biased = (bits >> 23) & 0xff;
    let lost = |count: u32| mantissa & ((1 << count) - 1) != 0;
    match biased {
        0 => (mantissa == 0).then_some(sign),
        255 => (!lost(13)).then_some(sign | 0x7c00 | (mantissa >> 13) as u16),
        // Normal: exponents -14 to 15.
        113..=142 if !lost(13) => {
            Some(sign | ((biased - 112) << 10) as u16 | (mantissa >> 13) as u16)
        }
        // Subnormal: exponents -24 to -15, the leading one becomes part of the mantissa.
        103..=112 => {
            let shift = 126 - biased;
            let whole = mantissa | 0x0080_0000;
            (whole & ((1 << shift) - 1) == 0).then_some(sign | (whole >> shift) as u16)
        }
        _ => None,
    }
}

/// The value of a 16-bit float.
pub(super) fn widen_16(bits: u16) -> f64 {
    let sign = u64::from(bits >> 15) << 63;
    let exponent = u64::from(bits >> 10) & 0x1f;
    let mantissa = u64::from(bits) & 0x3ff;
    match exponent {
        0 => {
            let value = mantissa as f64 / 16_777_216.0;
            f64::from_bits(sign | value.to_bits())
        }
        31 => f64::from_bits(sign | 0x7ff0_0000_0000_0000 | (mantissa << 42)),
        _ => f64::from_bits(sign | ((exponent + 1008) << 52) | (mantissa << 42)),
    }
}

/// The value of a 32-bit float, with the payload of a NaN.
pub(super) fn widen_32(bits: u32) -> f64 {
    let value = f32::from_bits(bits);
    if value.is_nan() {
        let sign = u64::from(bits >> 31) << 63;
        let mantissa = u64::from(bits & 0x007f_ffff) << 29;
        return f64::from_bits(sign | 0x7ff0_0000_0000_0000 | mantissa);
    }
    f64::from(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_16_bit_float_survives_widening_and_shortening() {
        for bits in 0..=u16::MAX {
            let wide = widen_16(bits);
            let single = shorten_64(wide.to_bits());
            assert_eq!(single.and_then(shorten_32), Some(bits), "{bits:04x}");
            assert_eq!(
                single.map(|bits| widen_32(bits).to_bits()),
                Some(wide.to_bits())
            );
        }
    }

    #[test]
    fn a_float_that_would_lose_a_bit_stays_long() {
        assert_eq!(shorten_64(1.1_f64.to_bits()), None);
        assert_eq!(shorten_64(1e300_f64.to_bits()), None);
        assert_eq!(shorten_64(0x7ff8_0000_0000_0001), None);
        assert_eq!(shorten_32(1.1_f32.to_bits()), None);
        assert_eq!(shorten_32(65536.0_f32.to_bits()), None);
        assert_eq!(shorten_32(65504.0_f32.to_bits()), Some(0x7bff));
        // Half of the smallest 16-bit float, and one and a half of it.
        assert_eq!(shorten_32(f32::to_bits(0.5 / 16_777_216.0)), None);
        assert_eq!(shorten_32(f32::to_bits(1.5 / 16_777_216.0)), None);
        assert_eq!(shorten_32(f32::to_bits(1.0 / 16_777_216.0)), Some(1));
        assert_eq!(shorten_32(1), None);
        assert_eq!(shorten_32(0x7f80_0001), None);
    }
}
