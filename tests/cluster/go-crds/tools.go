//go:build tools

// Package crds pins the modules that have the definitions of kinds that the chart may make; nothing of it is built.
package crds

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/versionutil"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
