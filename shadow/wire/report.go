package wire

import (
	"strconv"

	"gnomon/shadow"
)

// AppendReport appends an update that reports: patch merged into reported, or
// in place of all of it when full, ordered by origin.
func AppendReport(dst []byte, patch *shadow.Value, origin shadow.Origin, full bool, token string) []byte {
	dst = append(dst, `{"state":{"reported":`...)
	dst = patch.AppendJSON(dst)
	dst = append(dst, `},"origin":{"bootEpoch":`...)
	dst = strconv.AppendUint(dst, origin.BootEpoch, 10)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, origin.Seq, 10)
	if full {
		dst = append(dst, `,"full":true`...)
	}
	return appendToken(append(dst, '}'), token)
}
