package state

import (
	"encoding/json"
	"strings"

	"gnomon/edge/filesys"
)

// View reads the records of a directory that an agent may be using. It locks,
// writes and sets aside nothing; what doesn't check out is missing.
type View struct{ fs filesys.FS }

// ViewOf returns a view of a directory.
func ViewOf(dir string) View { return View{filesys.OS(dir)} }

// All returns the records of a kind by name.
func (v View) All(kind Kind) (map[string][]byte, error) {
	files, err := v.fs.List()
	if err != nil {
		return nil, err
	}
	all := make(map[string][]byte)
	for _, f := range files {
		name, ok := nameOf(kind, f)
		if !ok {
			continue
		}
		raw, err := v.fs.Read(f)
		if err != nil {
			continue // replaced in this moment, or damaged
		}
		if data, err := unseal(f, raw); err == nil {
			all[name] = data
		}
	}
	return all, nil
}

// Desired returns what the cloud wants of every shadow with a name that begins so.
func (v View) Desired(prefix string) ([]Desired, error) {
	all, err := v.All(KindDesired)
	var out []Desired
	for name, data := range all {
		var r desiredRecord
		if !strings.HasPrefix(name, prefix) || json.Unmarshal(data, &r) != nil {
			continue
		}
		if wanted, err := value(r.Desired); err == nil {
			out = append(out, Desired{Name: name, Version: r.Version, DesiredVersion: r.DesiredVersion, Value: wanted, Deleted: r.Deleted, Trace: r.Trace, At: r.At})
		}
	}
	return out, err
}

// Outbox returns what every shadow with a name that begins so last reported.
func (v View) Outbox(prefix string) ([]Outbox, error) {
	all, err := v.All(KindOutbox)
	var out []Outbox
	for name, data := range all {
		if o, err := parseOutbox(data); err == nil && strings.HasPrefix(name, prefix) {
			o.Name = name
			out = append(out, o)
		}
	}
	return out, err
}
