package crash

import (
	"encoding/json"
	"fmt"

	"gnomon/simulator/cloudapi"
)

// reduce keeps of a document what the ledger judges: members with text values.
func reduce(d cloudapi.Document) (Document, error) {
	doc := Document{Version: d.Version, Sections: map[string]map[string]string{}}
	for section, raw := range map[string]json.RawMessage{"desired": d.State.Desired, "reported": d.State.Reported} {
		if len(raw) == 0 {
			continue
		}
		var members map[string]any
		if err := json.Unmarshal(raw, &members); err != nil {
			return doc, fmt.Errorf("decode %s: %w", section, err)
		}
		values := make(map[string]string, len(members))
		for k, v := range members {
			if text, ok := v.(string); ok {
				values[k] = text
			}
		}
		doc.Sections[section] = values
	}
	return doc, nil
}
