package modbus

import (
	"fmt"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// places is how many registers, or bits, a function can address.
const places = 1 << 16

// outOfReach is why an item of a SunSpec model isn't asked for, or the model isn't
// found. To the policy it is what a meter's refusal is: the rest of the meter is read
// all the same.
type outOfReach struct{ text string }

func (e *outOfReach) Error() string { return e.text }

// Unwrap makes it a collect.ErrException.
func (e *outOfReach) Unwrap() error { return collect.ErrException }

// reach tells why an item of a SunSpec model that begins at base can't be asked for,
// or what scales it, or what says that the model is there: only here is known where
// they lie.
func (u *unit) reach(it schema.Item, base int) error {
	for _, x := range append(schema.WithFactors([]schema.Item{it}), signOf(it, 0)) {
		first := base + x.Address
		end := first + size(x)
		why := ""
		switch {
		case end > places:
			why = "past the last, 65535; addresses count from where the model begins"
		case u.forbidden.Touch(it.Function, first, end):
			why = "that is forbidden"
		default:
			continue
		}
		return &outOfReach{fmt.Sprintf("item %s of SunSpec model %d at %d: %s: %s", it.Name, it.Block, base, registersAt(first, end), why)}
	}
	return nil
}

func registersAt(first, end int) string {
	if end-first == 1 {
		return fmt.Sprintf("register %d", first)
	}
	return fmt.Sprintf("registers %d to %d", first, end-1)
}

// signOf is the register that has the number of the model that an item is in.
func signOf(of schema.Item, address int) schema.Item {
	return schema.Item{Function: of.Function, Address: address, Type: "uint16", Order: "ABCD", Scale: 1}
}
