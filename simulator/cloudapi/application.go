package cloudapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"gnomon/schema"
)

// Application is an application of a node as the cloud holds it.
type Application struct {
	Version        uint64          `json:"version"`
	DesiredVersion uint64          `json:"desiredVersion"`
	Desired        json.RawMessage `json:"desired"`
	Reported       json.RawMessage `json:"reported"`
	Status         schema.Status   `json:"status"`
}

// PutApplication sets what is desired of an application.
func (c *Client) PutApplication(ctx context.Context, node, app string, desired []byte) (Application, error) {
	var a Application
	err := c.do(ctx, http.MethodPut, applicationPath(node, app), desired, &a)
	return a, err
}

// GetApplication reads an application.
func (c *Client) GetApplication(ctx context.Context, node, app string) (Application, error) {
	var a Application
	err := c.do(ctx, http.MethodGet, applicationPath(node, app), nil, &a)
	return a, err
}

// DeleteApplication removes an application from a node.
func (c *Client) DeleteApplication(ctx context.Context, node, app string) error {
	return c.do(ctx, http.MethodDelete, applicationPath(node, app), nil, nil)
}

func applicationPath(node, app string) string {
	return "/v1/nodes/" + url.PathEscape(node) + "/apps/" + url.PathEscape(app)
}
