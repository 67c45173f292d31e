package wire

import (
	"errors"
	"fmt"
)

// What can be wrong with bytes. A *SyntaxError says where.
var (
	ErrStart    = errors.New("does not start with 68")
	ErrCut      = errors.New("ends too early")
	ErrTrailing = errors.New("bytes are left over")
	ErrLength   = errors.New("length out of range")
	ErrEnd      = errors.New("does not end with 16")
	ErrHCS      = errors.New("wrong header checksum")
	ErrFCS      = errors.New("wrong frame checksum")
	ErrReserved = errors.New("reserved bit is set")
	ErrUnknown  = errors.New("unknown tag")
	ErrTooDeep  = errors.New("nested too deep")
	ErrTooMany  = errors.New("too many elements")
	ErrFragment = errors.New("fragment out of sequence")
	ErrAddress  = errors.New("not an address")
)

// SyntaxError is a place in a frame or APDU that is not as it must be.
type SyntaxError struct {
	Offset int    // byte, from the start of what was decoded
	Field  string // what was to be read there
	Detail string // "" or values
	Err    error  // one of the sentinels
}

func (e *SyntaxError) Error() string {
	text := fmt.Sprintf("%s at byte %d: %v", e.Field, e.Offset, e.Err)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

func (e *SyntaxError) Unwrap() error { return e.Err }

func syntax(offset int, field string, err error, detail string, args ...any) error {
	return &SyntaxError{Offset: offset, Field: field, Err: err, Detail: fmt.Sprintf(detail, args...)}
}
