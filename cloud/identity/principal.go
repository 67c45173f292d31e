// Package identity says who is asking. Every call into the shadow service
// carries a Principal, so that authorisation has one door.
//
// It promises that the zero Principal is nobody. It never decides what a
// principal may do: cloud/twin does.
package identity

// Kind is the sort of a principal.
type Kind uint8

// The kinds. The zero Kind is nobody, who may do nothing.
const (
	Nobody   Kind = iota
	Operator      // a person or integration: every thing
	Thing         // a node or device: its own shadows only
)

// Principal is whoever a request is made for.
type Principal struct {
	Kind Kind
	Name string // of the operator, or of the thing
}

// LocalOperator is everybody in development mode, which listens on loopback only.
var LocalOperator = Principal{Kind: Operator, Name: "local"}

func (p Principal) String() string {
	switch p.Kind {
	case Operator:
		return "operator " + p.Name
	case Thing:
		return "thing " + p.Name
	default:
		return "nobody"
	}
}
