package wire

import "errors"

// The reasons for which bytes are refused. They are wrapped with the values.
var (
	ErrShort    = errors.New("cut short")              // more bytes are needed
	ErrStart    = errors.New("no start of a frame")    // 68H is missing in one of its two places
	ErrEnd      = errors.New("no end of a frame")      // 16H is missing
	ErrLength   = errors.New("wrong length")           // of a frame's data, or of a value
	ErrChecksum = errors.New("wrong checksum")         // of a frame, or of a load record
	ErrAddress  = errors.New("wrong address")          // neither digits nor padding
	ErrControl  = errors.New("wrong control code")     // not the one expected
	ErrBCD      = errors.New("not a decimal digit")    // a nibble above 9
	ErrMissing  = errors.New("the meter has no value") // FF… or EE…
	ErrRange    = errors.New("out of range")           // a number too large for its format, a 13th month
	ErrRecord   = errors.New("broken load record")
)
