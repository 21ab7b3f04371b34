package phone

import "math/bits"

// codec is one of the two G.711 laws, by its RTP payload type.
type codec struct {
	name   string
	encode func(sample int16) byte
	decode func(b byte) int16
	quiet  byte
}

// codecs is what the phone speaks.
var codecs = map[uint8]codec{
	0: {"PCMU", encodeMu, decodeMu, 0xff},
	8: {"PCMA", encodeA, decodeA, 0xd5},
}

// muBias moves the segments of the mu-law to powers of two (ITU-T G.711, table 2).
const muBias = 0x84

func encodeMu(sample int16) byte {
	v, sign := int(sample), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, 32635) + muBias
	segment := bits.Len(uint(v)) - 8
	return ^(sign | byte(segment)<<4 | byte(v>>(segment+3))&0x0f)
}

func decodeMu(b byte) int16 {
	b = ^b
	segment := b >> 4 & 7
	v := (int(b&0x0f)<<3+muBias)<<segment - muBias
	if b&0x80 != 0 {
		v = -v
	}
	return int16(v)
}

func encodeA(sample int16) byte {
	v, sign := int(sample)>>3, byte(0xd5)
	if v < 0 {
		v, sign = -v-1, 0x55
	}
	segment := max(bits.Len(uint(v))-5, 0)
	low := v >> 1
	if segment > 0 {
		low = v >> segment
	}
	return (byte(segment)<<4 | byte(low)&0x0f) ^ sign
}

func decodeA(b byte) int16 {
	b ^= 0x55
	segment := b >> 4 & 7
	v := int(b&0x0f)<<4 + 8
	if segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	if b&0x80 == 0 {
		v = -v
	}
	return int16(v)
}
