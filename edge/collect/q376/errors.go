package q376

import (
	"errors"
	"fmt"

	"gnomon/edge/collect"
	"gnomon/edge/collect/q376/wire"
)

var (
	errChanged   = fmt.Errorf("%w: the line is set up anew", collect.ErrLink)
	errReleased  = fmt.Errorf("%w: the port was released", collect.ErrLink)
	errRestarted = fmt.Errorf("%w: the CCO has started anew", collect.ErrLink)
	errSilent    = fmt.Errorf("%w: the CCO does not answer", collect.ErrLink)
	errUnread    = fmt.Errorf("%w: the CCO could not read the meter", collect.ErrTimeout)
	errNoRoom    = fmt.Errorf("%w: all sequences are in use", collect.ErrBusy)
)

// Denial is a CCO's refusal.
type Denial struct{ Code wire.Deny }

func (e *Denial) Error() string { return "the CCO: " + e.Code.Error() }

// Unwrap gives the code, and what it means for a reading: what has no answer from
// the meter is a collect.ErrTimeout, what is taken a collect.ErrBusy.
func (e *Denial) Unwrap() []error {
	reason := collect.ErrException
	switch e.Code.Standard() {
	case wire.DenyTimeout, wire.DenyNoMeterAnswer, wire.DenyNoNodeAnswer, wire.DenyNotInNetwork:
		reason = collect.ErrTimeout
	case wire.DenyBusy, wire.DenyTooManyMeters, wire.DenyMeterBusy:
		reason = collect.ErrBusy
	case wire.DenyChecksum, wire.DenyLength:
		reason = collect.ErrGarbled
	}
	return []error{reason, e.Code}
}

// denied returns the denial that a frame is, if it is one.
func denied(f *wire.Frame) error {
	err := f.Denied()
	var code wire.Deny
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code):
		return &Denial{code}
	}
	return fmt.Errorf("%w: %w", collect.ErrGarbled, err)
}
