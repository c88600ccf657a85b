package main

//lint:file-ignore ST1005 The error texts are those that Postfix logs.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"suffix/pkg/account"
	"suffix/pkg/config"
	"suffix/pkg/params"
	"suffix/pkg/safefile"
)

// The installation parameters, all of which go to main.cf when one of them
// changes.
var installParams = []params.String{
	params.DaemonDirectory, params.CommandDirectory, params.QueueDirectory, params.DataDirectory,
	params.MailOwner, params.SetgidGroup, params.SendmailPath, params.MailqPath, params.NewaliasesPath,
	params.HtmlDirectory, params.ManpageDirectory, params.SampleDirectory, params.ReadmeDirectory,
	params.ShlibDirectory, params.MetaDirectory,
}

// installer applies the list of installed files (spec master §10.4).
type installer struct {
	s      *script
	values map[string]string // of the parameters in the list

	create, setPerm, upgradePerm, upgradeConf bool
	obsolete                                  []string
	users                                     map[string]int
	groups                                    map[string]int
}

const installUsage = `Usage: post-install [name=value] command
    create-missing        Create missing queue directories.
    upgrade-source        When installing or upgrading from source code.
    upgrade-package       When installing or upgrading from a pre-built package.
    first-install-reminder  Remind of mandatory first-time configuration steps.
    set-permissions       Set all file/directory ownerships and permissions.
    upgrade-permissions   Upgrade some file/directory permissions.
    upgrade-configuration Upgrade the main.cf and master.cf files.
`

func usageError() error {
	fmt.Fprint(os.Stderr, installUsage)
	return errFailed
}

// install is post-install: name=value arguments, then commands.
func (s *script) install(words []string) error {
	in := &installer{s: s, values: make(map[string]string), users: make(map[string]int), groups: make(map[string]int)}
	for _, id := range append([]params.String{params.ConfigDirectory}, installParams...) {
		in.values[params.Of(id).Name] = s.cfg.String(id)
	}
	in.values["config_directory"] = s.dir
	commands := 0
	for _, word := range words {
		if strings.ContainsAny(word, " \t") {
			fmt.Printf("post-install: Error: argument contains whitespace: '%s'\n", word)
			return errFailed
		}
		name, value, assignment := strings.Cut(word, "=")
		switch {
		case assignment:
			in.values[name] = value
			continue
		case word == "create-missing":
			in.create = true
		case strings.HasPrefix(word, "set-perm"):
			in.create, in.setPerm = true, true
		case strings.HasPrefix(word, "upgrade-perm"):
			in.create, in.upgradePerm = true, true
		case strings.HasPrefix(word, "upgrade-conf"):
			in.upgradeConf = true
		case word == "upgrade-source":
			in.create, in.upgradePerm, in.upgradeConf = true, true, true
		case word == "upgrade-package":
			in.create, in.setPerm, in.upgradeConf = true, true, true
		case strings.HasPrefix(word, "first-install"):
			fmt.Print("\n    Warning: you still need to edit myorigin/mydestination/mynetworks\n    parameter settings in " + s.dir + "/main.cf.\n\n")
		default:
			return usageError()
		}
		commands++
	}
	if commands == 0 {
		return usageError()
	}
	if err := in.validate(); err != nil {
		fmt.Fprintf(os.Stderr, "post-install: Error: %v\n", err)
		return errFailed
	}
	if err := in.saveChanges(); err != nil {
		return err
	}
	if in.create {
		if err := in.applyLists(); err != nil {
			fmt.Fprintf(os.Stderr, "post-install: %v\n", err)
			return errFailed
		}
	}
	if in.upgradeConf {
		if err := s.upgradeConfiguration(); err != nil {
			return err
		}
	}
	if len(in.obsolete) > 0 {
		fmt.Print("\n    Note: the following files or directories still exist but are no\n    longer part of Postfix:\n\n     " +
			strings.Join(in.obsolete, " ") + "\n\n")
	}
	return nil
}

func (in *installer) validate() error {
	for _, name := range []string{"manpage_directory", "setgid_group"} {
		if in.values[name] == "no" {
			return fmt.Errorf("%s no longer accepts \"no\" values.", name)
		}
	}
	for _, id := range installParams {
		name := params.Of(id).Name
		value := in.values[name]
		switch name {
		case "mail_owner", "setgid_group":
		case "html_directory", "readme_directory", "shlib_directory", "sample_directory":
			if value != "no" && !filepath.IsAbs(value) {
				return fmt.Errorf("\"%s\" should be \"no\" or an absolute path name.", name)
			}
		default:
			if !filepath.IsAbs(value) {
				return fmt.Errorf("\"%s\" should be an absolute path name.", name)
			}
		}
	}
	if info, err := os.Stat(in.values["config_directory"]); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a directory.", in.values["config_directory"])
	}
	if list := in.values["meta_directory"] + "/postfix-files"; in.create && !isFile(list) {
		return fmt.Errorf("%s is not a file.", list)
	}
	return nil
}

// saveChanges writes the installation parameters to main.cf if one differs.
func (in *installer) saveChanges() error {
	version := in.s.cfg.String(params.MailVersion)
	args := []string{"-c", in.s.dir, "-e"}
	changed := false
	for _, id := range installParams {
		name := params.Of(id).Name
		if in.values[name] != in.s.cfg.String(id) {
			changed = true
		}
		value := in.values[name]
		if version != "" && strings.HasSuffix(value, version) {
			value = strings.TrimSuffix(value, version) + "${mail_version}"
		}
		args = append(args, name+"="+value)
	}
	if !changed {
		return nil
	}
	return in.s.program(in.s.command+"/postconf", args...)
}

// applyLists goes through the lists of installed files.
func (in *installer) applyLists() error {
	lists := []string{in.values["meta_directory"] + "/postfix-files"}
	extra, err := filepath.Glob(in.values["meta_directory"] + "/postfix-files.d/*")
	if err != nil {
		return err
	}
	sort.Strings(extra)
	for _, path := range append(lists, extra...) {
		if !isFile(path) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if err := in.apply(strings.TrimRight(line, "\n"), path); err != nil {
				return err
			}
		}
	}
	return nil
}

// record is one line of the list: name:type:owner:group:mode:flags.
type record struct {
	path, kind, owner, group string
	mode                     fs.FileMode
	flags                    string
}

func (in *installer) apply(line, list string) error {
	if !strings.HasPrefix(line, "$") {
		return nil
	}
	r, err := in.parse(line)
	if err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	if r.path == "no" || strings.HasPrefix(r.path, "no/") {
		return nil
	}
	if in.s.secondary && !in.belongsToInstance(line) {
		return nil
	}
	has := func(flag string) bool { return strings.Contains(r.flags, flag) }
	switch {
	case has("o"):
		if exists(r.path) {
			in.obsolete = append(in.obsolete, r.path)
		}
		return nil
	case (has("1") || has("i")) && in.s.dir != config.DefaultDir && !exists(r.path):
		return nil
	case r.kind == "h" || r.kind == "l":
		return nil
	case r.kind != "d" && r.kind != "f":
		return fmt.Errorf("unknown type %s for %s in %s", r.kind, r.path, list)
	}
	missing := r.kind == "d" && has("c") && !exists(r.path)
	if missing {
		if err := os.MkdirAll(r.path, 0o755); err != nil {
			return err
		}
	}
	if missing || in.setPerm || in.upgradePerm && has("u") {
		return in.setPermissions(r, has("r"))
	}
	return nil
}

func (in *installer) belongsToInstance(line string) bool {
	for _, name := range []string{"$config_directory", "$queue_directory", "$data_directory"} {
		if strings.HasPrefix(line, name) {
			return true
		}
	}
	return false
}

func (in *installer) parse(line string) (*record, error) {
	fields := strings.Split(line, ":")
	for len(fields) < 6 {
		fields = append(fields, "")
	}
	for i, f := range fields {
		if f == "-" {
			f = ""
		}
		fields[i] = os.Expand(f, func(name string) string { return in.values[name] })
	}
	r := &record{path: fields[0], kind: fields[1], owner: fields[2], group: fields[3], flags: fields[5]}
	if fields[4] != "" {
		n, err := strconv.ParseUint(fields[4], 8, 32)
		if err != nil {
			return nil, fmt.Errorf("bad mode %s for %s", fields[4], r.path)
		}
		r.mode = fs.FileMode(n & 0o777)
		for bit, flag := range map[uint64]fs.FileMode{0o1000: fs.ModeSticky, 0o2000: fs.ModeSetgid, 0o4000: fs.ModeSetuid} {
			if n&bit != 0 {
				r.mode |= flag
			}
		}
	}
	return r, nil
}

// setPermissions gives an object its owner, group and mode; with recursive,
// also what is below it, where only directories get the mode.
func (in *installer) setPermissions(r *record, recursive bool) error {
	uid, gid := -1, -1
	var err error
	if in.s.root {
		if uid, err = cached(in.users, r.owner, userID); err != nil {
			return err
		}
		if r.group != "" {
			if gid, err = cached(in.groups, r.group, groupID); err != nil {
				return err
			}
		}
	}
	one := func(path string, mode bool) error {
		if uid >= 0 || gid >= 0 {
			if err := os.Lchown(path, uid, gid); err != nil {
				return fmt.Errorf("chown %s: %w", path, safefile.Cause(err))
			}
		}
		if mode {
			if err := os.Chmod(path, r.mode); err != nil {
				return fmt.Errorf("chmod %s: %w", path, safefile.Cause(err))
			}
		}
		return nil
	}
	if !recursive {
		return one(r.path, true)
	}
	return filepath.WalkDir(r.path, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		if err := one(path, d.IsDir()); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func cached(known map[string]int, name string, find func(string) (int, error)) (int, error) {
	if id, ok := known[name]; ok {
		return id, nil
	}
	id, err := find(name)
	if err == nil {
		known[name] = id
	}
	return id, err
}

func userID(name string) (int, error) {
	u, err := account.Lookup(name)
	if err != nil {
		return -1, err
	}
	return u.UID, nil
}

func groupID(name string) (int, error) {
	g, err := account.LookupGroup(name)
	if err != nil {
		return -1, err
	}
	return g.GID, nil
}
