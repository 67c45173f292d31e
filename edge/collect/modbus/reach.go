package modbus

import (
	"fmt"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// places is how many registers, or bits, a function can address.
const places = 1 << 16

// outOfReach is why an item of a SunSpec model isn't asked for. To the policy it is
// what a meter's refusal is: the rest of the meter is read all the same.
type outOfReach struct{ text string }

func (e *outOfReach) Error() string { return e.text }

// Unwrap makes it a collect.ErrException.
func (e *outOfReach) Unwrap() error { return collect.ErrException }

// reach tells why an item of a SunSpec model that begins at base can't be asked for,
// or what scales it: only here is known where it lies.
func reach(it schema.Item, base int) error {
	for _, x := range schema.WithFactors([]schema.Item{it}) {
		first := base + x.Address
		if end := first + size(x); end > places {
			return &outOfReach{fmt.Sprintf("item %s of SunSpec model %d at %d: %s past the last, 65535: addresses count from where the model begins", it.Name, it.Block, base, registersAt(first, end))}
		}
	}
	return nil
}

func registersAt(first, end int) string {
	if end-first == 1 {
		return fmt.Sprintf("register %d is", first)
	}
	return fmt.Sprintf("registers %d to %d are", first, end-1)
}
