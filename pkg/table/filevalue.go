package table

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"

	"suffix/pkg/syserr"
)

// maxFileValue limits the files that make up one value.
const maxFileValue = 64 << 20

// FileValue reads the files named in the value of a source line, joined by one
// newline, and returns them as base64: the stored form of tables with
// FileValues (spec tables §7.4). The error is in Postfix's words.
func FileValue(names string) (string, error) {
	var all []byte
	for i, path := range SplitList(names) {
		if i > 0 {
			all = append(all, '\n')
		}
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("open %s: %s", path, syserr.Text(err))
		}
		text, err := io.ReadAll(io.LimitReader(f, maxFileValue+1-int64(len(all))))
		f.Close()
		if err != nil {
			return "", fmt.Errorf("read %s: %s", path, syserr.Text(err))
		}
		all = append(all, text...)
		if len(all) > maxFileValue {
			return "", fmt.Errorf("file too large: %s", names)
		}
	}
	if len(SplitList(names)) == 0 {
		return "", fmt.Errorf("empty pathname list: >>%s<<'", names)
	}
	return base64.StdEncoding.EncodeToString(all), nil
}

// DecodeFileValue is the reverse of FileValue.
func DecodeFileValue(value string) (string, error) {
	decoded, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return "", fmt.Errorf("malformed BASE64 value: %s", value[:min(30, len(value))])
	}
	return string(decoded), nil
}
