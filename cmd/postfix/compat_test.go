package main

import (
	"strings"
	"testing"

	"suffix/pkg/config"
	"suffix/pkg/table/tabletest"
)

// A level below the newest is remarked on by every command.
func TestCompatibilityNotice(t *testing.T) {
	const notice = `Postfix is using backwards-compatible default settings
See https://www.postfix.org/COMPATIBILITY_README.html for details
To disable backwards compatibility use "postconf compatibility_level=3.11" and "postfix reload"`
	for level, want := range map[string]string{"0": notice, "3.6": notice, "3.10.9": notice, "3.11": "", "4": ""} {
		cfg := config.New("/d", []config.Setting{{Name: "compatibility_level", Value: level}}, config.Options{})
		if got := strings.Join(tabletest.Logged(t, func() { compatibilityNotice(cfg) }), "\n"); got != want {
			t.Errorf("level %s: %q", level, got)
		}
	}
}
