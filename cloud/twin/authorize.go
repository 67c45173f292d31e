package twin

import (
	"gnomon/cloud/identity"
	"gnomon/shadow/wire"
)

// action is what somebody wants to do with a thing.
type action string

const (
	actionRead  action = "read"
	actionWrite action = "write"
	actionList  action = "list" // across things
)

// ErrForbidden refuses a principal. It names neither thing nor reason, so that
// nobody learns what exists.
var ErrForbidden = &wire.Error{Code: wire.CodeForbidden, Message: "Forbidden"}

// authorize is the one door: every exported method that touches a shadow
// passes it first.
func authorize(p identity.Principal, a action, thing string) error {
	switch p.Kind {
	case identity.Operator:
		return nil
	case identity.Thing:
		if a != actionList && thing != "" && thing == p.Name {
			return nil
		}
	}
	return ErrForbidden
}
