//go:build interop

package ldap

// treeText is the directory of the real server, as LDIF.
const treeText = `dn: dc=example,dc=com
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: cn=alice,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: inetLocalMailRecipient
cn: alice
sn: A
mail: alice@example.com
mailLocalAddress: alice@example.com
mailLocalAddress: al@example.com
mailRoutingAddress: alice@host1.example.com
description: first
description: second
title: boss
title;lang-en: the boss

dn: cn=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: inetLocalMailRecipient
cn: bob
sn: B
mail: bob@example.com
mailLocalAddress: bob@example.com
mailRoutingAddress: bob@host2.example.com
userPassword: bobpw

dn: cn=carol \2B x,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: carol + x
sn: C
mail: carol@example.com
description: x(*)\y

dn: cn=shared1,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: shared1
sn: S
mail: shared@example.com
description: s1

dn: cn=shared2,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: shared2
sn: S
mail: shared@example.com
description: s2

dn: cn=staff,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: staff
mail: staff@example.com
member: cn=alice,ou=people,dc=example,dc=com
member: cn=bob,ou=people,dc=example,dc=com

dn: cn=nested,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: nested
mail: nested@example.com
member: cn=staff,ou=groups,dc=example,dc=com
member: cn=carol \2B x,ou=people,dc=example,dc=com

dn: cn=gone,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: gone
mail: gone@example.com
member: cn=nobody,ou=people,dc=example,dc=com
member: cn=bob,ou=people,dc=example,dc=com

dn: cn=loop,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: loop
mail: loop@example.com
member: cn=loop,ou=groups,dc=example,dc=com

dn: cn=urls,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: urls
mail: urls@example.com
member: cn=bob,ou=people,dc=example,dc=com
labeledURI: ldap:///ou=people,dc=example,dc=com?mail?sub?(cn=alice)
labeledURI: ldap:///ou=people,dc=example,dc=com??sub?(cn=shared*)
labeledURI: ldap:///ou=people,dc=example,dc=com?sn?sub?(cn=alice)
labeledURI: ldap:///cn=bob,ou=people,dc=example,dc=com

dn: cn=badurl,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: badurl
mail: badurl@example.com
member: cn=bob,ou=people,dc=example,dc=com
labeledURI: ldap:///ou=people,dc=example,dc=com?mail?foo?(cn=alice)

dn: cn=noturl,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: noturl
mail: noturl@example.com
member: cn=bob,ou=people,dc=example,dc=com
labeledURI: http://example.com/

dn: cn=delegated,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: delegated
mail: delegated@example.com
description: list@lists.example.com
member: cn=alice,ou=people,dc=example,dc=com

dn: cn=hidden,dc=example,dc=com
objectClass: inetOrgPerson
cn: hidden
sn: H
mail: hidden@example.com

dn: cn=reader,dc=example,dc=com
objectClass: inetOrgPerson
cn: reader
sn: R
userPassword: readerpw

dn: cn=mixed,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: mixed
sn: M
mail: mixed@example.com
mail: other@example.org
mail: local
jpegPhoto:: w6kK/w==

dn: ou=away,dc=example,dc=com
objectClass: referral
objectClass: extensibleObject
ou: away
ref: ldap://ELSEWHERE/ou=people,dc=example,dc=com

dn: cn=gonelast,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: gonelast
mail: gonelast@example.com
member: cn=bob,ou=people,dc=example,dc=com
member: cn=nobody,ou=people,dc=example,dc=com

dn: cn=goneurl,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: goneurl
mail: goneurl@example.com
member: cn=bob,ou=people,dc=example,dc=com
labeledURI: ldap:///ou=none,dc=example,dc=com?cn?sub?(cn=*)

dn: cn=options,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: extensibleObject
cn: options
mail: options@example.com
member: cn=bob,ou=people,dc=example,dc=com
labeledURI: ldap://192.0.2.1:999/cn=alice,ou=people,dc=example,dc=com?title;lang-en
labeledURI: LDAP:///ou=people,dc=example,dc=com?CN?one?cn=bob
labeledURI: <URL:ldap:///cn=carol%20%5C2B%20x,ou=people,dc=example,dc=com?cn?sub?(cn=%2a)>
labeledURI: ldap:///cn=alice%zz,ou=people,dc=example,dc=com
`
