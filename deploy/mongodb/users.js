// The services' roles and users: mongosh "$ADMIN_URI" deploy/mongodb/users.js
//
// Run again, it brings roles and passwords up to date. Passwords are read from the environment: PROFILE_PASSWORD for the user
// `profile`, PROFILE_MIGRATE_PASSWORD for `profile-migrate`, and so on; nothing is done unless all are there.
const {readFileSync} = require("fs");
const {join} = require("path");

const roles = JSON.parse(readFileSync(join(__dirname, "roles.json"), "utf8"));
const users = roles.map(({createRole: role}) => {
  const user = role.replace("camino-", "");
  const variable = `${user.replace("-", "_").toUpperCase()}_PASSWORD`;
  if (!process.env[variable]) throw new Error(`${variable} is not set`);
  return {user, pwd: process.env[variable], roles: [{role, db: "admin"}]};
});

const admin = db.getSiblingDB("admin");
for (const {createRole: role, privileges, roles: inherited} of roles) {
  if (admin.getRole(role)) admin.updateRole(role, {privileges, roles: inherited});
  else admin.createRole({role, privileges, roles: inherited});
}
for (const {user, pwd, roles: granted} of users) {
  if (admin.getUser(user)) admin.updateUser(user, {pwd, roles: granted});
  else admin.createUser({user, pwd, roles: granted});
}
