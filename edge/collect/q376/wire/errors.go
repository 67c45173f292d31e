package wire

import (
	"errors"
	"fmt"
)

// What can be wrong with bytes, and with what is to become bytes. A *SyntaxError
// says where.
var (
	ErrStart    = errors.New("does not start with 68H")
	ErrCut      = errors.New("ends too early")
	ErrTrailing = errors.New("bytes are left over")
	ErrLength   = errors.New("length out of range")
	ErrEnd      = errors.New("does not end with 16H")
	ErrChecksum = errors.New("wrong checksum")
	ErrAddress  = errors.New("wrong address")
	ErrAFN      = errors.New("unknown AFN")
	ErrFn       = errors.New("unknown Fn")
	ErrProtocol = errors.New("unknown meter protocol")
	ErrTooMany  = errors.New("too many elements")
	ErrValue    = errors.New("value out of range")
	ErrCarried  = errors.New("not a meter frame") // what is carried has no bounds of a frame of its protocol
	ErrForeign  = errors.New("of another meter")  // what is carried is not of the meter it is said to be of
)

// SyntaxError is a place in a frame or a data unit that is not as it must be.
type SyntaxError struct {
	Offset int    // byte, from the start of what was decoded
	Field  string // what was to be read there
	Detail string // "" or values
	Err    error  // one of the sentinels, or a Deny
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
