package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// untrustedCaller tells whether the program has rights that the user who
// started it does not have.
func untrustedCaller() bool {
	return os.Getuid() != 0 && (os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid())
}

// authorize checks that the default main.cf lists dir (spec config §2.4). Its
// settings are taken as they stand, without $ expansion.
func authorize(dir string, errorf, warn func(string)) error {
	path := DefaultDir + "/main.cf"
	list, err := ReadSettings(path, warn)
	if err != nil {
		if text, ok := strings.CutPrefix(err.Error(), "open "); ok {
			return errors.New("open file " + text)
		}
		return err
	}
	for _, s := range list {
		if s.Name == "alternate_config_directories" || s.Name == "multi_instance_directories" {
			if slices.Contains(SplitList(s.Value), dir) {
				return nil
			}
		}
	}
	errorf("unauthorized configuration directory name: " + dir)
	return fmt.Errorf("specify \"alternate_config_directories = %s\" or \"multi_instance_directories = %s\" in %s", dir, dir, path)
}
