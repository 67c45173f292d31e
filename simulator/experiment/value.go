package experiment

import (
	"encoding/json"
	"fmt"
)

// reportedChange returns the change that a reported section mirrors.
func reportedChange(reported []byte) (string, error) {
	var r struct {
		Run struct {
			Env struct {
				Change string `json:"CHANGE"`
			} `json:"env"`
		} `json:"run"`
	}
	if err := json.Unmarshal(reported, &r); err != nil {
		return "", fmt.Errorf("decode reported: %w", err)
	}
	return r.Run.Env.Change, nil
}
