package cleanenv

import (
	"os"
	"slices"
	"testing"
)

func TestImport(t *testing.T) {
	saved := os.Environ()
	defer func() {
		os.Clearenv()
		for _, v := range saved {
			for i := range v {
				if v[i] == '=' {
					os.Setenv(v[:i], v[i+1:])
					break
				}
			}
		}
	}()
	os.Clearenv()
	t.Setenv("KEEP", "1")
	t.Setenv("DROP", "1")
	if err := Import([]string{"KEEP", "ABSENT", "SET=x y"}); err != nil {
		t.Fatal(err)
	}
	env := os.Environ()
	slices.Sort(env)
	if !slices.Equal(env, []string{"KEEP=1", "SET=x y"}) {
		t.Errorf("environment %q", env)
	}
	if err := Update([]string{"KEEP", "NEW=2"}); err != nil || os.Getenv("NEW") != "2" || os.Getenv("KEEP") != "1" {
		t.Errorf("update: %v %q", err, os.Environ())
	}
	if err := Import([]string{"=x"}); err == nil || err.Error() != "clean_env: missing attribute name in: =x" {
		t.Errorf("error %v", err)
	}
	if os.Getenv("KEEP") != "1" {
		t.Error("a bad list must not touch the environment")
	}
}
