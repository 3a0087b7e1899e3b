"""The names that forms, marketing tools and lists use for our fields.

A name is compared without case, accents, blanks and punctuation, so `Téléphone`, `telephone` and `TELEPHONE:` are one.
"""

from collections.abc import Mapping
from typing import Final

Names = Mapping[str, tuple[str, ...]]
"""Names by our field."""

_USUAL: Final[Names] = {
    "email": (
        *("mail", "email address", "e-mail address", "work email", "business email", "company email"),
        *("corporate email", "professional email", "contact email", "user email", "email id"),
    ),
    "phone": (
        *(
            "tel",
            "telephone",
            "telephone number",
            "phone number",
            "phone no",
            "mobile",
            "mobile phone",
            "mobile number",
        ),
        *("mobile phone number", "cell", "cell phone", "cellphone", "work phone", "business phone", "office phone"),
        *("direct phone", "contact number", "phone work", "phone mobile", "whatsapp"),
    ),
    "anonymous_id": ("visitor id",),
    "crm_id": ("crm id", "crm contact id", "crm lead id"),
    "name": ("full name", "contact name", "person name", "customer name", "lead name", "display name"),
    "first_name": ("first", "fname", "given name", "forename", "contact first name"),
    "last_name": ("last", "lname", "surname", "family name", "contact last name"),
    "title": (
        *("job title", "job", "job position", "job role", "position", "role", "work title", "designation"),
        *("occupation", "professional title", "job function"),
    ),
    "language": ("preferred language", "locale", "lang"),
    "country": ("country code", "country region", "country name", "country iso"),
    "consent": ("marketing consent", "opt in", "email opt in", "marketing opt in"),
    "company.name": (
        *("organization", "organisation", "organization name", "organisation name", "account", "account name"),
        *("business name", "business", "firm", "employer", "company or organization"),
    ),
    "company.domain": (
        *("website", "web site", "website url", "company website", "company url", "company web site", "homepage"),
        *("domain", "domain name", "company domain name", "organization website"),
    ),
    "company.employees": (
        *("company size", "size of company", "organization size", "organisation size", "team size", "headcount"),
        *("head count", "number of employees", "no of employees", "num of employees", "employee count"),
        *("employees count", "employee range", "employees range", "employee size", "staff", "staff size"),
        *("company headcount", "company employee count", "total employees", "how many employees"),
    ),
    "company.industry": ("industry sector", "sector", "business sector", "vertical", "industry type"),
    "company.country": ("headquarters country", "hq country", "billing country", "organization country"),
    "company.revenue": ("annual revenue", "revenue", "company annual revenue", "yearly revenue", "turnover"),
    "utm.source": ("utm source code", "campaign source"),
    "utm.medium": ("campaign medium",),
    "utm.campaign": ("campaign name", "utm campaign name"),
    "utm.term": ("campaign term", "utm keyword"),
    "utm.content": ("campaign content",),
    "message": (
        *("comments", "comment", "enquiry", "inquiry", "question", "questions", "how can we help"),
        *("how can we help you", "what can we help you with", "message text", "your comments", "description"),
    ),
}
_HUBSPOT: Final[Names] = {
    "phone": ("mobilephone", "hs_whatsapp_phone_number", "hs_calculated_phone_number"),
    "first_name": ("firstname",),
    "last_name": ("lastname",),
    "title": ("jobtitle",),
    "language": ("hs_language",),
    "country": ("hs_country_region_code", "hs_calculated_phone_number_country_code"),
    "crm_id": ("hs_object_id", "Record ID", "Record ID - Contact", "vid", "Contact ID"),
    "company.name": ("0-2/name", "Associated Company", "Primary Associated Company Name"),
    "company.domain": ("0-2/domain", "0-2/website", "hs_email_domain"),
    "company.employees": ("numemployees", "num_employees", "numberofemployees", "0-2/numberofemployees"),
    "company.industry": ("0-2/industry",),
    "company.country": ("0-2/country",),
    "company.revenue": ("annualrevenue", "0-2/annualrevenue"),
}
_MARKETO: Final[Names] = {
    "email": ("Email Address",),
    "phone": ("MobilePhone", "Mobile Phone Number", "MainPhone"),
    "first_name": ("FirstName",),
    "last_name": ("LastName",),
    "title": ("Title", "Job Title"),
    "crm_id": ("sfdcId", "sfdcLeadId", "sfdcContactId", "mktoPersonId", "leadid"),
    "company.name": ("Company", "Company Name", "inferredCompany"),
    "company.domain": ("Website",),
    "company.employees": ("NumberOfEmployees", "Num Employees"),
    "company.country": ("inferredCountry",),
    "company.revenue": ("AnnualRevenue",),
}
_SALESFORCE: Final[Names] = {
    "phone": ("MobilePhone", "Mobile", "Phone Number"),
    "name": ("Name",),
    "first_name": ("FirstName",),
    "last_name": ("LastName",),
    "title": ("Title",),
    "country": ("CountryCode", "MailingCountry", "Mailing Country"),
    "crm_id": ("Lead ID", "LeadId", "ContactId", "Salesforce ID", "SalesforceId", "Lead ID (18)", "18 digit id"),
    "company.name": ("Company / Account", "AccountName", "Account.Name"),
    "company.domain": ("Account.Website",),
    "company.employees": ("NumberOfEmployees", "No. of Employees", "Account.NumberOfEmployees", "employees"),
    "company.industry": ("Account.Industry",),
    "company.country": ("BillingCountry", "Account.BillingCountry"),
    "company.revenue": ("AnnualRevenue", "Account.AnnualRevenue"),
    "message": ("Description",),
}
_WORDPRESS: Final[Names] = {
    "email": ("your-email", "email-address", "Email (Enter Email)"),
    "phone": ("your-tel", "your-phone", "tel", "Phone / Mobile"),
    "name": ("your-name", "Name (Full)", "names"),
    "first_name": ("Name (First)", "names.first_name", "input_first_name"),
    "last_name": ("Name (Last)", "names.last_name", "input_last_name"),
    "company.name": ("your-company",),
    "message": ("your-message", "textarea"),
}
_GERMAN: Final[Names] = {
    "email": ("E-Mail-Adresse", "Mailadresse", "Geschäftliche E-Mail", "E-Mail geschäftlich"),
    "phone": (
        *("Telefon", "Telefonnummer", "Tel.-Nr.", "Tel. Nr.", "Rufnummer", "Mobil", "Mobilnummer", "Mobiltelefon"),
        *("Mobilfunknummer", "Handy", "Handynummer", "Telefon geschäftlich"),
    ),
    "name": ("Vor- und Nachname", "Vorname Nachname", "Vollständiger Name", "Ansprechpartner", "Ansprechpartnerin"),
    "first_name": ("Vorname",),
    "last_name": ("Nachname", "Familienname", "Zuname"),
    "title": ("Position", "Funktion", "Berufsbezeichnung", "Beruf", "Jobtitel", "Rolle", "Stellenbezeichnung"),
    "language": ("Sprache", "Bevorzugte Sprache"),
    "country": ("Land", "Staat"),
    "consent": ("Einwilligung", "Werbeeinwilligung", "Marketing-Einwilligung"),
    "company.name": ("Firma", "Unternehmen", "Firmenname", "Unternehmensname", "Name der Firma", "Organisation"),
    "company.domain": ("Webseite", "Internetseite", "Firmenwebseite", "Unternehmenswebseite"),
    "company.employees": (
        *("Mitarbeiter", "Mitarbeitende", "Mitarbeiterzahl", "Mitarbeiteranzahl", "Anzahl Mitarbeiter"),
        *("Anzahl der Mitarbeiter", "Anzahl Mitarbeitende", "Unternehmensgröße", "Firmengröße", "Beschäftigte"),
        *("Anzahl Beschäftigte", "Mitarbeiter:innen", "Anzahl Mitarbeiter:innen"),
    ),
    "company.industry": ("Branche", "Wirtschaftszweig", "Industrie"),
    "company.country": ("Firmensitz", "Land des Unternehmens"),
    "company.revenue": ("Umsatz", "Jahresumsatz"),
    "message": (
        "Nachricht",
        "Ihre Nachricht",
        "Anfrage",
        "Ihre Anfrage",
        "Mitteilung",
        "Bemerkung",
        "Anliegen",
        "Kommentar",
    ),
}
_FRENCH: Final[Names] = {
    "email": (
        "Courriel",
        "Adresse e-mail",
        "Adresse mail",
        "Adresse électronique",
        "E-mail professionnel",
        "Email pro",
    ),
    "phone": (
        *("Téléphone", "Tél", "Numéro de téléphone", "N° de téléphone", "Téléphone portable", "Téléphone mobile"),
        *("Portable", "Téléphone professionnel", "Numéro de portable"),
    ),
    "name": ("Nom complet", "Nom et prénom", "Prénom et nom", "Nom prénom", "Prénom nom"),
    "first_name": ("Prénom", "Votre prénom"),
    "last_name": ("Nom", "Nom de famille", "Votre nom"),
    "title": ("Fonction", "Poste", "Intitulé de poste", "Intitulé du poste", "Titre du poste", "Métier"),
    "language": ("Langue",),
    "country": ("Pays",),
    "consent": ("Consentement",),
    "company.name": (
        *("Entreprise", "Société", "Raison sociale", "Nom de l'entreprise", "Nom de la société", "Nom entreprise"),
        *("Votre entreprise", "Votre société"),
    ),
    "company.domain": ("Site web", "Site internet", "Site de l'entreprise"),
    "company.employees": (
        *("Effectif", "Effectifs", "Nombre d'employés", "Nombre de salariés", "Nombre de collaborateurs"),
        *("Taille de l'entreprise", "Taille de la société", "Taille entreprise", "Salariés", "Employés"),
    ),
    "company.industry": ("Secteur", "Secteur d'activité", "Industrie"),
    "company.country": ("Pays de l'entreprise",),
    "company.revenue": ("Chiffre d'affaires", "Chiffre d'affaires annuel"),
    "message": ("Votre message", "Commentaire", "Commentaires", "Votre demande", "Votre projet"),
}
_SPANISH: Final[Names] = {
    "email": (
        "Correo",
        "Correo electrónico",
        "Correo electronico profesional",
        "Email corporativo",
        "Correo corporativo",
    ),
    "phone": (
        *("Teléfono", "Teléfono móvil", "Número de teléfono", "Móvil", "Celular", "Teléfono celular", "Teléfono fijo"),
        *("Teléfono de contacto",),
    ),
    "name": ("Nombre completo", "Nombre y apellido", "Nombre y apellidos"),
    "first_name": ("Nombre", "Nombres", "Primer nombre"),
    "last_name": ("Apellido", "Apellidos", "Primer apellido"),
    "title": ("Cargo", "Puesto", "Puesto de trabajo", "Función", "Profesión"),
    "language": ("Idioma",),
    "country": ("País", "País/Región"),
    "consent": ("Consentimiento",),
    "company.name": (
        "Empresa",
        "Compañía",
        "Nombre de la empresa",
        "Nombre de empresa",
        "Razón social",
        "Organización",
    ),
    "company.domain": ("Sitio web", "Página web", "Web de la empresa"),
    "company.employees": (
        *("Empleados", "Número de empleados", "N.º de empleados", "Nº de empleados", "Cantidad de empleados"),
        *("Tamaño de la empresa", "Tamaño de empresa", "Trabajadores", "Número de trabajadores"),
    ),
    "company.industry": ("Industria", "Sector de actividad"),
    "company.country": ("País de la empresa",),
    "company.revenue": ("Facturación", "Facturación anual", "Ingresos anuales"),
    "message": ("Mensaje", "Comentarios", "Comentario", "Consulta", "Su mensaje"),
}

ALIASES: Final[Mapping[str, Names]] = {
    "usual": _USUAL,
    "HubSpot": _HUBSPOT,
    "Marketo": _MARKETO,
    "Salesforce": _SALESFORCE,
    "WordPress": _WORDPRESS,
    "German": _GERMAN,
    "French": _FRENCH,
    "Spanish": _SPANISH,
}
"""The names by their origin."""
