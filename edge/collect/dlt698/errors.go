package dlt698

import (
	"errors"
	"fmt"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
)

// Refused is a meter's refusal of an attribute or of a record.
type Refused struct {
	OAD  wire.ObjectAttribute
	Code wire.DAR
}

func (e *Refused) Error() string { return fmt.Sprintf("%s: %s (%d)", e.OAD, e.Code, byte(e.Code)) }

// Unwrap makes it a collect.ErrException.
func (e *Refused) Unwrap() error { return collect.ErrException }

// ServiceError is a meter's refusal of a request as such.
type ServiceError struct{ Code byte }

func (e *ServiceError) Error() string {
	switch e.Code {
	case 1:
		return "the meter cannot parse the request"
	case 2:
		return "the meter does not support the service"
	}
	return fmt.Sprintf("the meter refuses the request (%d)", e.Code)
}

// Unwrap makes it a collect.ErrException.
func (e *ServiceError) Unwrap() error { return collect.ErrException }

var (
	errUnanswered = fmt.Errorf("%w: left out of the answer", collect.ErrException)
	errNoRecord   = fmt.Errorf("%w: no such record", collect.ErrNoValue)
	errEndless    = fmt.Errorf("%w: more than %d parts", collect.ErrGarbled, maxParts)
	errNotOurs    = errors.New("not the answer to this request")
)
