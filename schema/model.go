package schema

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync" //nolint:depguard // a value that is computed once, not a lock around one that changes
)

// Model is a device model: the items of a kind of meter, by name.
type Model struct {
	Name     string   `json:"name"`     // as in Meter.Model
	Protocol Protocol `json:"protocol"` // what such a meter speaks
	Title    string   `json:"title"`    // maker, type, register map
	Items    []Item   `json:"items"`

	Version    int    `json:"version"`    // of this description, from 1 on; a meter's model may pin one, such as sdm630@1
	Unverified string `json:"unverified"` // what of it nobody has held against a device; "" = nothing
	Forbidden  Ranges `json:"forbidden"`  // of Modbus: registers that such a meter must not be asked for
}

// modelFiles holds one file per model, so that a new meter is a new file.
//
//go:embed models/*.json
var modelFiles embed.FS

// models is computed when it is first asked for: most programs that link this
// package never do, and one of them is started for every workload.
var models = sync.OnceValue(loadModels)

// loadModels panics on a broken file: they are part of the program, and a test reads each.
func loadModels() map[string]Model {
	files, err := modelFiles.ReadDir("models")
	if err != nil {
		panic(err)
	}
	all := make(map[string]Model, len(files))
	for _, f := range files {
		text, err := modelFiles.ReadFile("models/" + f.Name())
		if err != nil {
			panic(err)
		}
		var m Model
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&m); err != nil {
			panic(fmt.Sprintf("device model %s: %v", f.Name(), err))
		}
		for i := range m.Items {
			m.Items[i].defaults(m.Protocol)
		}
		all[m.Name+"@"+strconv.Itoa(m.Version)] = m
		if latest, ok := all[m.Name]; !ok || latest.Version < m.Version {
			all[m.Name] = m
		}
	}
	return all
}

// ModelNamed returns a device model, in its latest version or, as in sdm630@1, in
// the one that is named. Its items are shared: callers don't change them.
func ModelNamed(name string) (Model, bool) {
	m, ok := models()[name]
	return m, ok
}

// ModelNames returns the names of all models, sorted.
func ModelNames() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(models())), func(name string) bool { return strings.Contains(name, "@") })
}

// modelsFor returns the names of the models that speak a protocol, sorted.
func modelsFor(p Protocol) []string {
	return slices.DeleteFunc(ModelNames(), func(name string) bool { return models()[name].Protocol != p })
}
