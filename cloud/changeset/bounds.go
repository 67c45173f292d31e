package changeset

// Bounds of the change-sets of one thing.
type Bounds struct {
	Open    int   // that take a place, see Change.Open
	Ended   int   // that are kept to be looked at, applied ones without a life among them
	Bytes   int   // of what open ones write, together, and of what is kept
	Shadows int   // in one
	Windows int   // of one
	Note    int   // bytes
	Horizon int64 // seconds from now to the last time that may be named
}

// DefaultBounds are those of the service; Bytes there is four times the limit of
// a shadow's state.
var DefaultBounds = Bounds{
	Open: 32, Ended: 32, Bytes: 256 << 10, Shadows: 32, Windows: 16, Note: 1024,
	Horizon: 366 * 24 * 3600,
}
