// Package rest is the HTTP face of the cloud: the data plane of the AWS IoT
// Device Shadow service, the native API below /v1 with its OpenAPI document,
// server-sent events, health and metrics.
//
// It promises that every error of the data plane has the contract's shape and
// every other one is a problem (RFC 9457) with a stable code; that a write
// answers only when it is durable; and that bodies, headers and times are
// bounded. It holds no state and decides nothing about shadows.
package rest
